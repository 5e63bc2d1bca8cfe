"""Tiny .tflite models for the tests of `edge`, written straight into a flatbuffer, without TensorFlow.

uint8 or float32 (1, 32, 32, 3) -> convolution 3x3 stride 4, 4 channels -> fully connected 10 -> softmax. The
weights are seeded, so equal arguments give equal bytes.
"""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_CHANNELS = 4
# The first versions that know int8; an interpreter refuses versions that it has never heard of.
_VERSIONS = {
    schema.BuiltinOperator.CONV_2D: 3,
    schema.BuiltinOperator.FULLY_CONNECTED: 4,
    schema.BuiltinOperator.SOFTMAX: 2,
    schema.BuiltinOperator.QUANTIZE: 1,
}


class _Builder:
    """Collects tensors, buffers and operators of one subgraph."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]
        self.codes: list[int] = []
        self.operators: list[Any] = []

    def tensor(
        self,
        shape: tuple[int, ...],
        kind: int,
        data: np.ndarray | None = None,
        scale: float | None = None,
        zero_point: int = 0,
    ) -> int:
        made = schema.TensorT()
        made.name = f"tensor{len(self.tensors)}".encode()
        made.shape = list(shape)
        made.type = kind
        made.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            made.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = [scale]
            made.quantization.zeroPoint = [zero_point]
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(
        self, code: int, inputs: list[int], outputs: list[int], kind: int = 0, options: Any = None
    ) -> None:
        if code not in self.codes:
            self.codes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex = self.codes.index(code)
        made.inputs, made.outputs = inputs, outputs
        made.builtinOptionsType, made.builtinOptions = kind, options
        self.operators.append(made)

    def finish(self, source: int, target: int) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = [source], [target]
        model = schema.ModelT()
        model.version, model.description = 3, b"thrones test"
        model.subgraphs, model.buffers = [graph], self.buffers
        model.operatorCodes = []
        for code in self.codes:
            made = schema.OperatorCodeT()
            made.builtinCode, made.deprecatedBuiltinCode, made.version = code, min(code, 127), _VERSIONS[code]
            model.operatorCodes.append(made)
        writer = flatbuffers.Builder(4096)
        writer.Finish(model.Pack(writer), b"TFL3")
        return bytes(writer.Output())


def float_model(side: int = 32, seed: int = 0) -> bytes:
    """float32 in, 0..255, and float32 probabilities out; a `side` other than 32 does not fit the task."""
    kind = schema.TensorType.FLOAT32
    build, rng, after = _Builder(), np.random.default_rng(seed), -(-side // 4)
    source = build.tensor((1, side, side, 3), kind)
    kernel = rng.normal(0, 0.01, (_CHANNELS, 3, 3, 3)).astype(np.float32)
    weights = rng.normal(0, 0.5, (10, after * after * _CHANNELS)).astype(np.float32)
    inner = build.tensor((1, after, after, _CHANNELS), kind)
    logits, target = build.tensor((1, 10), kind), build.tensor((1, 10), kind)
    bias = build.tensor((_CHANNELS,), kind, np.zeros(_CHANNELS, np.float32))
    shift = build.tensor((10,), kind, np.zeros(10, np.float32))
    _layers(build, [source, build.tensor(kernel.shape, kind, kernel), bias, inner],
            [build.tensor(weights.shape, kind, weights), shift, logits, target])  # fmt: skip
    return build.finish(source, target)


def int8_model(seed: int = 0) -> bytes:
    """Full int8 with uint8 in and out, so that it opens and ends with QUANTIZE as converted models do."""
    int8, uint8, int32 = schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT32
    build, rng = _Builder(), np.random.default_rng(seed)
    outside = build.tensor((1, 32, 32, 3), uint8, scale=1.0, zero_point=0)
    source = build.tensor((1, 32, 32, 3), int8, scale=1.0, zero_point=-128)
    kernel = rng.integers(-127, 128, (_CHANNELS, 3, 3, 3), dtype=np.int8)
    weights = rng.integers(-127, 128, (10, 64 * _CHANNELS), dtype=np.int8)
    inner = build.tensor((1, 8, 8, _CHANNELS), int8, scale=0.05, zero_point=0)
    logits = build.tensor((1, 10), int8, scale=0.5, zero_point=0)
    target = build.tensor((1, 10), int8, scale=1 / 256, zero_point=-128)
    result = build.tensor((1, 10), uint8, scale=1 / 256, zero_point=0)
    bias = build.tensor((_CHANNELS,), int32, np.zeros(_CHANNELS, np.int32), scale=1e-4)
    shift = build.tensor((10,), int32, np.zeros(10, np.int32), scale=0.05 * 4e-3)
    build.operator(schema.BuiltinOperator.QUANTIZE, [outside], [source])
    _layers(build, [source, build.tensor(kernel.shape, int8, kernel, scale=1e-4), bias, inner],
            [build.tensor(weights.shape, int8, weights, scale=4e-3), shift, logits, target])  # fmt: skip
    build.operator(schema.BuiltinOperator.QUANTIZE, [target], [result])
    return build.finish(outside, result)


def _layers(build: _Builder, convolution: list[int], dense: list[int]) -> None:
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 4
    options.padding, options.fusedActivationFunction = schema.Padding.SAME, schema.ActivationFunctionType.RELU
    kinds, codes = schema.BuiltinOptions, schema.BuiltinOperator
    source, kernel, bias, inner = convolution
    weights, shift, logits, target = dense
    build.operator(codes.CONV_2D, [source, kernel, bias], [inner], kinds.Conv2DOptions, options)
    build.operator(
        codes.FULLY_CONNECTED, [inner, weights, shift], [logits], kinds.FullyConnectedOptions,
        schema.FullyConnectedOptionsT(),
    )  # fmt: skip
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    build.operator(codes.SOFTMAX, [logits], [target], kinds.SoftmaxOptions, softmax)
