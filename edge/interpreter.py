"""Everything that touches the TFLite interpreter: check, open, encode, predict, read the operators.

ai_edge_litert is imported inside the functions: it takes 0.2 s, and most of `edge` does without it. A damaged
model can crash or stall the interpreter, so models from elsewhere belong into the child process
(`edge.local`), not in here.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import InfeasibleError, UnavailableError, UsageError, one_line

INPUT_SHAPE = (1, 32, 32, 3)
OUTPUT_SHAPE = (1, 10)
# A flatbuffer's root offset and file identifier: anything shorter holds no table at all.
_MIN_BYTES = 16


@dataclass(frozen=True)
class Operator:
    """One operator of the graph as converted, before any delegate; dtypes are names such as "int8"."""

    name: str
    input_dtypes: tuple[str, ...]
    output_dtypes: tuple[str, ...]


def import_runtime() -> Any:
    """The module ai_edge_litert.interpreter. Raises UnavailableError where it is not installed."""
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise UnavailableError(
            f"ai-edge-litert cannot be imported ({one_line(error)}): pip install thrones"
        ) from error
    return interpreter


def check_header(model: bytes) -> None:
    """The cheap check, safe in any process. Raises InfeasibleError for what does not start like TFLite."""
    if len(model) < _MIN_BYTES:
        raise InfeasibleError(
            f"model has {len(model)} bytes; a TFLite file has at least {_MIN_BYTES}: is it empty?"
        )
    if model[4:8] != b"TFL3":
        raise InfeasibleError(f'model has {model[4:8]!r} at bytes 4 to 8, not b"TFL3": give a .tflite file')


def check_model(model: bytes) -> None:
    """The whole check: header, parse, shapes. A damaged model may crash this process (see the top).

    Raises InfeasibleError for a model that this task cannot use and UnavailableError without a runtime.
    """
    open_interpreter(model, threads=1)


def open_interpreter(model: bytes, threads: int) -> Any:
    """An interpreter with its tensors allocated, its one input (1, 32, 32, 3) and its one output (1, 10).

    Raises InfeasibleError for a model that cannot be parsed or has other shapes and UnavailableError without
    a runtime.
    """
    check_header(model)
    interpreter = _load(model, threads)
    _check_tensors("input", interpreter.get_input_details(), INPUT_SHAPE)
    _check_tensors("output", interpreter.get_output_details(), OUTPUT_SHAPE)
    return interpreter


def check_images(images: NDArray[np.uint8]) -> None:
    """Raises UsageError unless `images` is uint8 (N, 32, 32, 3) with N >= 1."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != INPUT_SHAPE[1:] or len(images) < 1:
        raise UsageError(
            f"images are {images.dtype} {images.shape}; uint8 (N, 32, 32, 3) with N >= 1 is needed"
        )


def encode_images(images: NDArray[np.uint8], input_details: Mapping[str, Any]) -> NDArray[Any]:
    """The images as the model's input takes them, done once and before any timing.

    images: uint8 (N, 32, 32, 3), 0..255, not normalised. Returns the same shape in the input's dtype: raw
    0..255 for floats; round(value / scale) + zero point, clipped to the dtype, for integers. Raises
    UsageError for other images and InfeasibleError for an input of another kind.
    """
    check_images(images)
    dtype = np.dtype(input_details["dtype"])
    if np.issubdtype(dtype, np.floating):
        return images.astype(dtype)
    if not np.issubdtype(dtype, np.integer):
        raise InfeasibleError(
            f"model input is {dtype}; float32, int8, uint8 or int16 is needed: convert it anew"
        )
    scale, zero_point = input_details["quantization"]
    if not scale > 0:
        raise InfeasibleError(
            f"model input is {dtype} with scale {scale}; a scale > 0 is needed: quantize it anew"
        )
    # There are only 256 pixel values: a table is exact and needs no float copy of the images.
    info = np.iinfo(dtype)
    table = np.clip(np.round(np.arange(256) / scale) + zero_point, info.min, info.max).astype(dtype)
    encoded: NDArray[Any] = table[images]
    return encoded


def predict(model: bytes, images: NDArray[np.uint8], threads: int = 1) -> NDArray[np.int64]:
    """The label of every image: int64 (N,), 0..9; the lower label where two outputs are equal.

    images: uint8 (N, 32, 32, 3), 0..255. One image at a time, as it is timed and deployed: batches of 50
    would save a quarter of the time on the largest net and nothing on small ones, and need a graph that can
    be resized. Raises InfeasibleError, UsageError and UnavailableError as `open_interpreter` and
    `encode_images` do.
    """
    interpreter = open_interpreter(model, threads)
    source = interpreter.get_input_details()[0]
    target_index = interpreter.get_output_details()[0]["index"]
    encoded = encode_images(images, source)
    labels = np.empty(len(images), dtype=np.int64)
    try:
        for position in range(len(images)):
            interpreter.set_tensor(source["index"], encoded[position : position + 1])
            interpreter.invoke()
            labels[position] = interpreter.get_tensor(target_index).argmax()
    except (RuntimeError, ValueError) as error:
        raise InfeasibleError(f"model fails on image {position}: {one_line(error)}") from error
    return labels


def read_operators(model: bytes) -> list[Operator]:
    """The operators of the main graph in order, as converted: before a delegate replaces them.

    Raises InfeasibleError for a model that cannot be parsed and UnavailableError without a runtime.
    """
    check_header(model)
    interpreter = _load(model, threads=1, delegate=False)
    return [
        Operator(
            name=details["op_name"],
            input_dtypes=tuple(np.dtype(dtype).name for dtype in details["operand_types"]),
            output_dtypes=tuple(np.dtype(dtype).name for dtype in details["result_types"]),
        )
        for details in interpreter._get_ops_details()
    ]


def operators(model: bytes) -> dict[str, int]:
    """How often each operator stands in the main graph. Raises as `read_operators` does."""
    return dict(sorted(Counter(operator.name for operator in read_operators(model)).items()))


def applied_delegate(interpreter: Any) -> str | None:
    """ "XNNPACK" when the runtime has handed operators over to it, None when it runs them all itself."""
    return "XNNPACK" if any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details()) else None


def _load(model: bytes, threads: int, delegate: bool = True) -> Any:
    runtime = import_runtime()
    types = runtime.OpResolverType
    resolver = types.AUTO if delegate else types.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        interpreter = runtime.Interpreter(
            model_content=model, num_threads=threads, experimental_op_resolver_type=resolver
        )
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise InfeasibleError(
            f"model of {len(model)} bytes cannot be loaded ({one_line(error)}): convert it anew"
        ) from error
    return interpreter


def _check_tensors(kind: str, details: list[dict[str, Any]], shape: tuple[int, ...]) -> None:
    if len(details) != 1:
        raise InfeasibleError(
            f"model has {len(details)} {kind}s; this task needs exactly one: convert it anew"
        )
    found = tuple(int(size) for size in details[0]["shape"])
    if found != shape:
        raise InfeasibleError(
            f"model {kind} is {found}; this task needs {shape}: one CIFAR-10 image at a time, ten classes"
        )
