"""ONNX models: everything that uses ONNX Runtime, an optional extra, imported inside the functions.

Input and output are bound once, as a TFLite interpreter holds its tensors: `invoke` is
InferenceSession.run_with_iobinding() and copies neither.
"""

import os
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError, one_line
from edge.runtime.preprocessing import encode, find_layout, pixel_values, show
from edge.runtime.runner import Runner

OUTPUT_SHAPE = (1, 10)
_DTYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
}  # fmt: skip
_INPUTS = ("tensor(float)", "tensor(uint8)")
# Of onnx.proto's ModelProto: the first field that every exporter writes, and the one without which there is no net.
_IR_VERSION, _GRAPH = 1, 7
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED32: 4, _FIXED64: 8}


def import_onnxruntime() -> Any:
    """Return the module onnxruntime. Raises ModelError where it is not installed: only such models need it."""
    # Its official builds report to their makers from a thread of their own, which is no part of a measurement.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"an ONNX model needs onnxruntime, which cannot be imported here ({one_line(error)})",
            remedy="pip install 'thrones[onnx]'",
        ) from error
    return onnxruntime


def begins_like_onnx(model: bytes) -> bool:
    """Return whether the first byte is that of an ONNX file: the tag of its version."""
    return model[:1] == bytes([_IR_VERSION << 3 | _VARINT])


def check_fields(model: bytes) -> None:
    """Check, safe in any process, that the outermost fields fill the file. Raises ModelError."""
    try:
        fields = set(_fields(model))
    except IndexError as error:
        raise ModelError(
            f"model begins like ONNX, but its {len(model)} bytes are cut off or damaged",
            remedy="fetch or export it anew",
        ) from error
    if _GRAPH not in fields:
        raise ModelError(
            "model begins like ONNX, but holds no graph",
            remedy="give a .tflite or .onnx file",
        )


def open_onnx(model: bytes, threads: int) -> Runner:
    """Load an ONNX model with its one input, 32 x 32 RGB in either order, and its one output (1, 10), both bound.

    A free batch size is taken as 1. Raises ModelError for a model that cannot be loaded or has other shapes, and
    where ONNX Runtime is not installed.
    """
    runtime = import_onnxruntime()
    failures = _errors(runtime)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except failures as error:
        raise ModelError(
            f"model of {len(model)} bytes cannot be loaded ({_reason(error)})",
            remedy="export it anew, weights inside",
        ) from error
    source, target = _only("input", session.get_inputs()), _only("output", session.get_outputs())
    layout = find_layout(_one_image(source.shape))
    if _one_image(target.shape) != OUTPUT_SHAPE:
        raise ModelError(f"model output is {show(target.shape)}; this task needs {OUTPUT_SHAPE}: ten classes")
    if source.type not in _INPUTS or target.type not in _DTYPES:
        raise ModelError(
            f"model takes {source.type} and gives {target.type}; this task needs "
            f"{' or '.join(_INPUTS)} in and one of {', '.join(_DTYPES)} out",
            remedy="export it anew",
        )
    held = np.zeros(_one_image(source.shape), _DTYPES[source.type])
    result = np.zeros(OUTPUT_SHAPE, _DTYPES[target.type])
    binding = session.io_binding()
    # On the processor these share the arrays' memory: to write into `held` is to set the input.
    binding.bind_ortvalue_input(source.name, runtime.OrtValue.ortvalue_from_numpy(held))
    binding.bind_ortvalue_output(target.name, runtime.OrtValue.ortvalue_from_numpy(result))
    return Runner(
        blank=held.copy(),
        encode=lambda images, pixels: _encode(images, pixels, layout, held.dtype),
        set_input=partial(np.copyto, held),
        invoke=partial(session.run_with_iobinding, binding),
        get_output=result.copy,
        failures=failures,
        describe=lambda: (f"onnxruntime {runtime.__version__}", None),
    )


def _encode(images: NDArray[np.uint8], pixels: str, layout: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    values = pixel_values(pixels)
    if dtype == np.uint8 and pixels != "raw":
        raise ModelError(
            f"model input is uint8 and takes raw pixels, got pixels {pixels!r}",
            remedy="leave --pixels out",
        )
    return encode(images, values.astype(dtype), layout)


def _only(kind: str, tensors: list[Any]) -> Any:
    if len(tensors) != 1:
        raise ModelError(
            f"model has {len(tensors)} {kind}s; this task needs exactly one",
            remedy="export it anew",
        )
    return tensors[0]


def _one_image(shape: list[Any]) -> tuple[Any, ...]:
    """Return the shape for one image: a free batch size, which has a name or None first, becomes 1."""
    if shape and not isinstance(shape[0], int):
        return (1, *shape[1:])
    return tuple(shape)


def _errors(runtime: Any) -> tuple[type[Exception], ...]:
    # Its own have no base of their own, and their number grows from version to version.
    classes = (each for each in vars(runtime.capi.onnxruntime_pybind11_state).values() if isinstance(each, type))
    return (RuntimeError, ValueError, *(each for each in classes if issubclass(each, Exception)))


def _reason(error: Exception) -> str:
    # "[ONNXRuntimeError] : 10 : INVALID_GRAPH : This is ...": the words alone.
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", one_line(error))


def _fields(model: bytes) -> Iterator[int]:
    """Yield the numbers of a protobuf message's fields. Raises IndexError where they do not end with the bytes."""
    position = 0
    while position < len(model):
        tag, position = _varint(model, position)
        kind = tag & 7
        if kind == _VARINT:
            _, position = _varint(model, position)
        elif kind == _BYTES:
            length, position = _varint(model, position)
            position += length
        elif kind in _FIXED_BYTES:
            position += _FIXED_BYTES[kind]
        else:
            raise IndexError(f"no field can be of kind {kind}")
        yield tag >> 3
    if position > len(model):
        raise IndexError("the last field ends behind the last byte")


def _varint(model: bytes, position: int) -> tuple[int, int]:
    """Return the number that begins at `position`, seven bits a byte, and the position after it."""
    value = shift = 0
    while True:
        byte = model[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
