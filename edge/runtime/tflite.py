"""Everything that uses the TFLite interpreter: check, open, encode, predict, read the operators.

ONNX models are passed on to `onnx`; `open_runner` returns the same for both. ai_edge_litert is imported
inside the functions: it takes 0.2 s, and most of `edge` does without it. A damaged model can crash or hang
the interpreter, so models from elsewhere run in a child process (`edge.devices.local`).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError, UnavailableError, UsageError, one_line
from edge.runtime.onnx import begins_like_onnx, check_fields, import_onnxruntime, open_onnx
from edge.runtime.preprocessing import encode, find_layout, pixel_values
from edge.runtime.runner import Runner

INPUT_SHAPE = (1, 32, 32, 3)
OUTPUT_SHAPE = (1, 10)
# A flatbuffer's root offset and file identifier: anything shorter holds no table at all.
_MIN_BYTES = 16


@dataclass(frozen=True)
class Operator:
    """One operator of the graph as converted, before any delegate; dtypes are names such as "int8".

    `output_shape` is that of its first output.
    """

    name: str
    input_dtypes: tuple[str, ...]
    output_dtypes: tuple[str, ...]
    output_shape: tuple[int, ...]


def import_runtime() -> Any:
    """Return the module ai_edge_litert.interpreter. Raises UnavailableError where it is not installed."""
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise UnavailableError(
            f"ai-edge-litert cannot be imported ({one_line(error)})",
            remedy="pip install thrones",
        ) from error
    return interpreter


def runtime_name() -> str:
    """Return name and version of the interpreter, such as "ai-edge-litert 2.3.0"."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and most commands do without

    try:
        return f"ai-edge-litert {version('ai-edge-litert')}"
    except PackageNotFoundError:
        return "ai-edge-litert not installed"


def load_runtime(head: bytes) -> None:
    """Import what runs a model that begins with these bytes, 8 at least.

    Raises UnavailableError without ai-edge-litert and ModelError without ONNX Runtime for an ONNX model.
    """
    if _is_tflite(head):
        import_runtime()
    else:
        import_onnxruntime()


def check_header(model: bytes) -> None:
    """Check the first bytes, safe in any process. Raises ModelError for what is neither like TFLite nor like ONNX."""
    if len(model) < _MIN_BYTES:
        raise ModelError(
            f"model has {len(model)} bytes; a TFLite file has at least {_MIN_BYTES}",
            remedy="is it empty?",
        )
    if _is_tflite(model):
        return
    if not begins_like_onnx(model):
        raise ModelError(
            f"model has {model[4:8]!r} at bytes 4 to 8, not b\"TFL3\"",
            remedy="give a .tflite or .onnx file",
        )
    check_fields(model)


def check_model(model: bytes) -> None:
    """Check header, graph and shapes. A damaged model may crash this process (see the top).

    Raises ModelError for a model that this task cannot use and UnavailableError without a runtime.
    """
    open_runner(model, threads=1)


def open_runner(model: bytes, threads: int) -> Runner:
    """Load a model, TFLite or ONNX, ready for one image after the other.

    Raises as `open_interpreter` does, and ModelError for an ONNX model where ONNX Runtime is not installed.
    """
    check_header(model)
    if not _is_tflite(model):
        return open_onnx(model, threads)
    interpreter = open_interpreter(model, threads)
    source = interpreter.get_input_details()[0]
    source_index, target_index = source["index"], interpreter.get_output_details()[0]["index"]
    return Runner(
        blank=np.zeros(source["shape"], source["dtype"]),
        encode=lambda images, pixels: encode_images(images, source, pixels),
        set_input=lambda frame: interpreter.set_tensor(source_index, frame),
        invoke=interpreter.invoke,
        get_output=lambda: interpreter.get_tensor(target_index),
        failures=(RuntimeError, ValueError),
        describe=lambda: (runtime_name(), applied_delegate(interpreter)),
    )


def open_interpreter(model: bytes, threads: int) -> Any:
    """Return a TFLite interpreter, its tensors allocated, with one input, 32 x 32 RGB, and one output (1, 10).

    Raises ModelError for a model that cannot be parsed or has other shapes and UnavailableError without
    a runtime.
    """
    check_header(model)
    interpreter = _load(model, threads)
    find_layout(_only_shape("input", interpreter.get_input_details()))
    found = _only_shape("output", interpreter.get_output_details())
    if found != OUTPUT_SHAPE:
        raise ModelError(f"model output is {found}; this task needs {OUTPUT_SHAPE}: ten classes")
    return interpreter


def check_images(images: NDArray[np.uint8]) -> None:
    """Raise UsageError unless `images` is uint8 (N, 32, 32, 3) with N >= 1."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != INPUT_SHAPE[1:] or len(images) < 1:
        raise UsageError(
            f"images are {images.dtype} {images.shape}; uint8 (N, 32, 32, 3) with N >= 1 is needed"
        )


def encode_images(
    images: NDArray[np.uint8], input_details: Mapping[str, Any], pixels: str = "raw"
) -> NDArray[Any]:
    """Return the images as a TFLite model's input takes them, done once and before any timing.

    images: uint8 (N, 32, 32, 3), 0..255, not normalised. Returns them in the input's order and dtype: the numbers
    that `pixels`, one of `preprocessing.PIXELS`, has for 0..255 as floats; round(number / scale) + zero point, clipped
    to the dtype, for integers. Raises UsageError for other images and ModelError for an input of another kind.
    """
    check_images(images)
    layout = find_layout(tuple(input_details.get("shape", INPUT_SHAPE)))
    dtype = np.dtype(input_details["dtype"])
    # There are only 256 pixel values: a table is exact and needs no float copy of the images.
    values = pixel_values(pixels)
    if np.issubdtype(dtype, np.floating):
        return encode(images, values.astype(dtype), layout)
    if not np.issubdtype(dtype, np.integer):
        raise ModelError(
            f"model input is {dtype}; float32, int8, uint8 or int16 is needed",
            remedy="convert it anew",
        )
    scale, zero_point = input_details["quantization"]
    if not scale > 0:
        raise ModelError(
            f"model input is {dtype} with scale {scale}; a scale > 0 is needed",
            remedy="quantize it anew",
        )
    info = np.iinfo(dtype)
    table = np.clip(np.round(values / scale) + zero_point, info.min, info.max).astype(dtype)
    return encode(images, table, layout)


def predict(
    model: bytes, images: NDArray[np.uint8], threads: int = 1, pixels: str = "raw"
) -> NDArray[np.int64]:
    """Return the label of every image: int64 (N,), 0..9; the lower label where two outputs are equal.

    images: uint8 (N, 32, 32, 3), 0..255. One image at a time, as it is timed and deployed: batches of 50
    would save a quarter of the time on the largest net and nothing on small ones, and need a graph that can
    be resized. Raises ModelError, UsageError and UnavailableError as `open_runner` and `encode_images` do.
    """
    check_images(images)
    runner = open_runner(model, threads)
    encoded = runner.encode(images, pixels)
    labels = np.empty(len(images), dtype=np.int64)
    try:
        for position in range(len(images)):
            runner.set_input(encoded[position : position + 1])
            runner.invoke()
            labels[position] = runner.get_output().argmax()
    except runner.failures as error:
        raise ModelError(f"model fails on image {position}: {one_line(error)}") from error
    return labels


def read_operators(model: bytes) -> list[Operator]:
    """Return the operators of the main graph in order, as converted: before a delegate replaces them.

    Raises ModelError for a model that cannot be parsed and UnavailableError without a runtime.
    """
    check_header(model)
    interpreter = _load(model, threads=1, delegate=False)
    return [
        Operator(
            name=details["op_name"],
            input_dtypes=tuple(np.dtype(dtype).name for dtype in details["operand_types"]),
            output_dtypes=tuple(np.dtype(dtype).name for dtype in details["result_types"]),
            output_shape=tuple(int(n) for n in interpreter._get_tensor_details(details["outputs"][0], 0)["shape"]),
        )
        for details in interpreter._get_ops_details()
    ]


def operators(model: bytes) -> dict[str, int]:
    """Return how often each operator is in the main graph. Raises as `read_operators` does."""
    return dict(sorted(Counter(operator.name for operator in read_operators(model)).items()))


def applied_delegate(interpreter: Any) -> str | None:
    """Return "XNNPACK" when the runtime has given operators to it, None when it runs them all itself."""
    if any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details()):
        return "XNNPACK"
    return None


def _load(model: bytes, threads: int, delegate: bool = True) -> Any:
    runtime = import_runtime()
    types = runtime.OpResolverType
    resolver = types.AUTO
    if not delegate:
        resolver = types.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        interpreter = runtime.Interpreter(
            model_content=model, num_threads=threads, experimental_op_resolver_type=resolver
        )
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        reason = "no reason given: do its tensors fit into the memory?"
        if str(error):
            reason = one_line(error)
        raise ModelError(
            f"model of {len(model)} bytes cannot be loaded ({reason})",
            remedy="convert it anew",
        ) from error
    return interpreter


def _only_shape(kind: str, details: list[dict[str, Any]]) -> tuple[int, ...]:
    if len(details) != 1:
        raise ModelError(
            f"model has {len(details)} {kind}s; this task needs exactly one",
            remedy="convert it anew",
        )
    return tuple(int(size) for size in details[0]["shape"])


def _is_tflite(model: bytes) -> bool:
    return model[4:8] == b"TFL3"
