"""The tensors of the course's network: their names and shapes, and what differs in another network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.architecture import BASE, CLASSES
from compress.errors import UsageError
from compress.network import Weights

Tensors = Mapping[str, NDArray[Any]]
Shape = tuple[int, ...]

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "conv2d": ("kernel",),
    "depthwise_conv2d": ("depthwise_kernel",),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "dense": ("kernel", "bias"),
}
"""The tensors of a layer in Keras' order, by the name that Keras gives its first layer of a kind."""
MAX_SHOWN_DIFFERENCES = 6


@dataclass(frozen=True)
class WeightedLayer:
    """A layer with weights: its kind, a key of ATTRIBUTES, and the shapes of its tensors."""

    kind: str
    shapes: tuple[Shape, ...]


def weighted_layers() -> list[WeightedLayer]:
    """Return the layers of the course's network that have weights, in its order."""
    channels = BASE.stem_width
    layers = [WeightedLayer("conv2d", ((3, 3, 3, channels),)), _normalization(channels)]
    for block in BASE.blocks:
        layers += [WeightedLayer("depthwise_conv2d", ((3, 3, channels, 1),)), _normalization(channels)]
        layers += [WeightedLayer("conv2d", ((1, 1, channels, block.width),)), _normalization(block.width)]
        channels = block.width
    return [*layers, WeightedLayer("dense", ((channels, CLASSES), (CLASSES,)))]


def _normalization(channels: int) -> WeightedLayer:
    return WeightedLayer("batch_normalization", ((channels,),) * 4)


def wanted_tensors() -> dict[str, Shape]:
    """Return name and shape of the network's 137 tensors, all float32, in Keras' order."""
    wanted = {}
    for number, layer in enumerate(weighted_layers()):
        for attribute, shape in zip(ATTRIBUTES[layer.kind], layer.shapes, strict=True):
            wanted[f"layer_with_weights-{number}/{attribute}"] = shape
    return wanted


def check_tensors(what: str, tensors: Tensors) -> Weights:
    """Return the tensors in the order of `build(BASE)`, float32.

    Raises UsageError, naming the first differences, unless they are `wanted_tensors`, each finite.
    """
    wanted = wanted_tensors()
    differences = [f"{name} is missing" for name in wanted if name not in tensors]
    for name, tensor in tensors.items():
        if name not in wanted:
            differences.append(f"{name} is one too many")
        elif tensor.shape != wanted[name]:
            differences.append(f"{name}: wanted {_shape_text(wanted[name])}, has {_shape_text(tensor.shape)}")
        elif tensor.dtype != np.float32:
            differences.append(f"{name}: wanted float32, has {tensor.dtype}")
        elif not np.isfinite(tensor).all():
            differences.append(f"{name} has values that are infinite or no number")
    refuse_differences(what, differences)
    return [np.asarray(tensors[name], np.float32) for name in wanted]


def check_weights(what: str, weights: Weights) -> None:
    """Raise UsageError unless these are the weights of `build(BASE)`."""
    names = list(wanted_tensors())
    names += [f"array {number}" for number in range(len(names), len(weights))]
    check_tensors(what, dict(zip(names, weights, strict=False)))


def refuse_differences(what: str, differences: Sequence[str]) -> None:
    """Raise UsageError with the first of the differences, if there are any."""
    if not differences:
        return
    shown = "; ".join(differences[:MAX_SHOWN_DIFFERENCES])
    if len(differences) > MAX_SHOWN_DIFFERENCES:
        shown += f"; and {len(differences) - MAX_SHOWN_DIFFERENCES} more"
    raise UsageError(
        f"{what} is not the course's network of 85 layers: {shown}. Give the unpruned "
        "float32 network, built as in the course: thrones prunes and quantizes it"
    )


def _shape_text(shape: Shape) -> str:
    return f"({','.join(map(str, shape))})"
