"""Encode an image for a model: the numbers for its pixels, and their order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError, UsageError

# The input shapes that this task knows. TensorFlow's models have the first order, PyTorch's the second.
LAYOUTS = {"NHWC": (1, 32, 32, 3), "NCHW": (1, 3, 32, 32)}
PIXELS: dict[str, str] = {
    "raw": "0..255",
    "unit": "0..1",
    "half": "-1..1",
    "cifar10": "0..1 less CIFAR-10's mean, over its deviation",
}
# Of red, green and blue over CIFAR-10's training images, pixels taken as 0..1.
_MEAN, _DEVIATION = np.array((0.4914, 0.4822, 0.4465)), np.array((0.2470, 0.2435, 0.2616))
_IMAGES_AT_ONCE = 256


def check_pixels(pixels: str) -> None:
    """Raise UsageError unless `pixels` is one of PIXELS."""
    if pixels not in PIXELS:
        raise UsageError(f"no pixels {pixels!r}", remedy=f"there are: {', '.join(PIXELS)}")


def find_layout(shape: tuple[object, ...]) -> str:
    """Return which of LAYOUTS a model's input has. Raises ModelError for another shape."""
    for layout, expected in LAYOUTS.items():
        if shape == expected:
            return layout
    known = " or ".join(str(expected) for expected in LAYOUTS.values())
    raise ModelError(f"model input is {show(shape)}; this task needs {known}: one CIFAR-10 image at a time")


def show(shape: tuple[object, ...]) -> str:
    """Return a shape as text; the name of a free dimension is without quotes."""
    return f"({', '.join(map(str, shape))})"


def pixel_values(pixels: str) -> NDArray[np.float64]:
    """Return the numbers for the pixel values 0..255 in red, green and blue: (256, 3). Raises as check_pixels."""
    check_pixels(pixels)
    values = np.arange(256.0)[:, None].repeat(3, axis=1)
    if pixels == "raw":
        return values
    if pixels == "half":
        return values / 127.5 - 1
    values /= 255
    if pixels == "cifar10":
        values = (values - _MEAN) / _DEVIATION
    return values


def encode(images: NDArray[np.uint8], values: NDArray[Any], layout: str) -> NDArray[Any]:
    """Return every image with its pixels replaced by `values` (256, 3), in one of LAYOUTS and the values' dtype.

    images: uint8 (N, 32, 32, 3), 0..255, not normalised. Returns (N, 32, 32, 3) or (N, 3, 32, 32).
    """
    encoded = np.empty((len(images), *LAYOUTS[layout][1:]), values.dtype)
    # A few at a time: numpy makes eight bytes of every index, which for 10,000 images would be 245 MB.
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        part = values[images[start : start + _IMAGES_AT_ONCE], np.arange(3)]
        if layout == "NCHW":
            part = part.transpose(0, 3, 1, 2)
        encoded[start : start + len(part)] = part
    return encoded
