"""Tiny .onnx models for the tests of `edge`, written straight as protobuf, without the onnx package.

They tell ten shades of grey apart: the mean of each channel, then a matrix whose largest output is the nearest shade.
A model takes its pixels as `pixels` says, and only when it gets them so does it know every shade.
"""

import numpy as np

SHADES = 12 + 25 * np.arange(10)
_FLOAT, _INT64 = 1, 7
_OFFSETS = {"raw": 0.0, "unit": 0.0, "half": 127.5, "cifar10": 255 * np.array([0.4914, 0.4822, 0.4465])}
_DIVISORS = {"raw": 1.0, "unit": 255.0, "half": 127.5, "cifar10": 255 * np.array([0.2470, 0.2435, 0.2616])}


def grey_images(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (count, 32, 32, 3) and their labels, 0..9."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    noise = rng.integers(-8, 9, (count, 32, 32, 3))
    return (SHADES[labels][:, None, None, None] + noise).astype(np.uint8), labels


def onnx_model(
    pixels: str = "raw",
    layout: str = "NCHW",
    batch: int | str = 1,
    kind: int = _FLOAT,
    side: int = 32,
    classes: int = 10,
    grow_to: int = 0,
) -> bytes:
    """An ONNX file. `batch` is a number or the name of a free one; `grow_to` blows the image up to that side."""
    centres = (SHADES[:classes, None] - _OFFSETS[pixels]) / _DIVISORS[pixels] * np.ones(3)
    shape = (batch, 3, side, side) if layout == "NCHW" else (batch, side, side, 3)
    nodes, name = [], "image"
    if kind != _FLOAT:
        nodes.append(_node("Cast", [name], "floats", _number("to", _FLOAT)))
        name = "floats"
    if layout == "NHWC":
        nodes.append(_node("Transpose", [name], "planes", _numbers("perm", [0, 3, 1, 2])))
        name = "planes"
    weights = [
        _tensor("weights", (2 * centres).T.astype(np.float32), _FLOAT),
        _tensor("shift", -(centres**2).sum(axis=1).astype(np.float32), _FLOAT),
    ]
    if grow_to:
        nodes.append(_node("GlobalAveragePool", [name], "dot"))
        nodes.append(_node("Expand", ["dot", "size"], "large"))
        weights.append(_tensor("size", np.array([1, 3, grow_to, grow_to]), _INT64))
        name = "large"
    nodes += [
        _node("GlobalAveragePool", [name], "means"),
        _node("Flatten", ["means"], "flat"),
        _node("Gemm", ["flat", "weights", "shift"], "nearest"),
    ]
    graph = [_field(1, node) for node in nodes] + [_field(2, b"shades")] + [_field(5, each) for each in weights]
    graph += [_field(11, _value("image", kind, shape)), _field(12, _value("nearest", _FLOAT, (batch, classes)))]
    opset = _field(1, b"") + _field(2, 13)
    return _field(1, 8) + _field(2, b"thrones test") + _field(7, b"".join(graph)) + _field(8, opset)


def _node(operator: str, inputs: list[str], output: str, attribute: bytes = b"") -> bytes:
    fields = [_field(1, each.encode()) for each in inputs] + [_field(2, output.encode()), _field(4, operator.encode())]
    return b"".join(fields) + (_field(5, attribute) if attribute else b"")


def _number(name: str, value: int) -> bytes:
    return _field(1, name.encode()) + _field(3, value) + _field(20, 2)


def _numbers(name: str, values: list[int]) -> bytes:
    return _field(1, name.encode()) + b"".join(_field(8, value) for value in values) + _field(20, 7)


def _tensor(name: str, data: np.ndarray, kind: int) -> bytes:
    sizes = b"".join(_field(1, size) for size in data.shape)
    return sizes + _field(2, kind) + _field(8, name.encode()) + _field(9, np.ascontiguousarray(data).tobytes())


def _value(name: str, kind: int, shape: tuple[int | str, ...]) -> bytes:
    sizes = b"".join(
        _field(1, _field(1, size) if isinstance(size, int) else _field(2, size.encode())) for size in shape
    )
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, kind) + _field(2, sizes)))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
