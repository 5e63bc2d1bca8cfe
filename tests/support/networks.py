"""Small networks and random BatchNorm statistics for the tests of `compress`."""

from typing import Any

import numpy as np

from compress.architecture import Architecture, Block
from compress.network import Weights


def architecture(*widths: int, stem_stride: int = 2) -> Architecture:
    """A stem and one block for each further width; every second block halves the map."""
    stem, *blocks = widths
    return Architecture(stem, stem_stride, tuple(Block(w, 1 + n % 2) for n, w in enumerate(blocks)))


def weight_shapes(shape: Architecture) -> list[tuple[int, ...]]:
    """The shapes of the network's weights in Keras' order; to build it takes a second."""
    shapes: list[tuple[int, ...]] = [(3, 3, 3, shape.stem_width), *4 * [(shape.stem_width,)]]
    channels = shape.stem_width
    for block in shape.blocks:
        shapes += [(3, 3, channels, 1), *4 * [(channels,)]]
        shapes += [(1, 1, channels, block.width), *4 * [(block.width,)]]
        channels = block.width
    return [*shapes, (channels, 10), (10,)]


def random_weights(shapes: list[tuple[int, ...]], seed: int) -> list[np.ndarray]:
    """Weights in Keras' order whose BatchNorm does something: no scale of one, no offset or mean of zero.

    Kernels keep the size of the signal, so that random networks of any depth can be compared.
    """
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, 1, shape).astype(np.float32) for shape in shapes]
    for at in range(0, len(shapes) - 2, 5):
        kernel, (channels,) = weights[at], shapes[at + 1]
        fan_in = 9 if at % 10 == 5 else int(np.prod(kernel.shape[:3]))
        kernel /= np.sqrt(fan_in)
        signal = 100.0 if at == 0 else 1.0  # pixels, then what BatchNorm leaves
        weights[at + 1] = rng.uniform(0.5, 1.5, channels).astype(np.float32) * rng.choice([-1, 1], channels)
        weights[at + 2] = rng.normal(0, 1, channels).astype(np.float32)
        weights[at + 3] = rng.normal(0, signal, channels).astype(np.float32)
        weights[at + 4] = (signal**2 * rng.uniform(0.3, 3, channels)).astype(np.float32)
    return [weight.astype(np.float32) for weight in weights]


def random_network(shape: Architecture, seed: int = 0) -> Any:
    """A network with `random_weights`."""
    from compress.network import build  # here, so that `architecture` needs no TensorFlow

    network = build(shape)
    network.set_weights(random_weights(weight_shapes(shape), seed))
    return network


def random_images(count: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, 32, 32, 3) noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def same_weights(found: Weights, wanted: Weights) -> None:
    """Fails unless both are the same float32 arrays."""
    for was, now in zip(wanted, found, strict=True):
        assert now.dtype == np.float32
        np.testing.assert_array_equal(now, was)
