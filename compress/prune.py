"""Structured pruning by L1 norm (Li et al. 2017, "Pruning Filters for Efficient ConvNets").

Weights are handled as Keras' flat list: stem kernel and its BatchNorm (gamma, beta, mean, variance), per
block the depthwise kernel and its BatchNorm, the pointwise kernel and its BatchNorm, at last the dense kernel
and bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.architecture import Architecture, Block
from compress.errors import UsageError
from compress.network import Weights, architecture_of, build
from compress.spec import CompressionSpec, check_pruning_ratio, kept_channels

Channels = NDArray[np.intp]

STEM = 5  # arrays of the stem: kernel, gamma, beta, mean, variance
COPY_NOISE = 0.05  # standard deviation of the factor that sets a copied channel apart from its twin
BLOCK = 10  # arrays of a block: the same for its depthwise and its pointwise convolution


@dataclass(frozen=True)
class Slice:
    """What is taken of one block: its number, and which of its input and output channels."""

    block: int
    inputs: Channels
    outputs: Channels


def channel_fraction_pruning(model: Any, pruning_ratio: float | Sequence[float]) -> Any:
    """A copy of `model` whose channels with the lowest L1 norm are silent: that share of every convolution's.

    pruning_ratio: one number, or one for the stem and one for each block's pointwise convolution; >= 0 and < 1. A
    depthwise convolution loses the channels that its input loses. A silent channel's filter, BatchNorm
    scale and offset are zero, in the depthwise convolution that follows as well, so that `remove_channel`
    changes no output.

    Raises UsageError for a pruning ratio out of range or a wrong number of them.
    """
    architecture = architecture_of(model)
    layers = len(architecture.widths)
    ratios = np.asarray(pruning_ratio, dtype=float)
    if ratios.ndim == 0:
        ratios = np.full(layers, ratios)
    if len(ratios) != layers:
        raise UsageError(
            f"wanted one pruning ratio or {layers} (stem and {layers - 1} blocks), got {len(ratios)}"
        )
    weights = model.get_weights()
    for layer, ratio in enumerate(ratios.tolist()):
        check_pruning_ratio(ratio)
        kernel = _pointwise_at(layer)
        kept = strongest(weights[kernel], kept_channels(architecture.widths[layer], ratio))
        silent = np.setdiff1d(np.arange(architecture.widths[layer]), kept)
        _silence(weights, kernel, silent, axis=3)
        if layer + 1 < layers:
            _silence(weights, kernel + 5, silent, axis=2)
    masked = build(architecture)
    masked.set_weights(weights)
    return masked


def remove_channel(model: Any) -> Any:
    """A smaller network without the silent channels of `model`; it computes the same outputs.

    A channel goes when its BatchNorm gives nothing (scale and offset zero) and neither does that of the
    depthwise convolution that follows. At least one channel stays in each layer.
    """
    architecture = architecture_of(model)
    weights = model.get_weights()
    kept: list[Channels] = []
    for layer in range(len(architecture.widths)):
        alive = _alive(weights, _pointwise_at(layer))
        if layer + 1 < len(architecture.widths):
            alive |= _alive(weights, _pointwise_at(layer) + 5)
        kept.append(np.flatnonzero(alive) if alive.any() else np.array([0]))
    slices = [Slice(block, kept[block], kept[block + 1]) for block in range(len(architecture.blocks))]
    smaller = build(
        Architecture(
            len(kept[0]),
            architecture.stem_stride,
            tuple(Block(len(s.outputs), architecture.blocks[s.block].stride) for s in slices),
        )
    )
    smaller.set_weights(carve(weights, kept[0], slices, kept[-1]))
    return smaller


def inherit(base: Weights, spec: CompressionSpec) -> Weights:
    """The base's weights cut down to `spec.architecture()`, the strongest channels of each layer.

    Behind a dropped block there are no channels that belong together: the next layer takes as many of its own
    inputs as arrive, the strongest ones, and training has to join them.
    """
    architecture = spec.architecture()
    stem = strongest(base[0], architecture.stem_width)
    slices: list[Slice] = []
    last, arriving = 0, stem  # layer of the base that was taken last, and its channels
    for block, shape in zip(spec.kept_blocks, architecture.blocks, strict=True):
        kernel = base[_pointwise_at(block + 1)]
        inputs = arriving if last == block else strongest(kernel, len(arriving), axis=2)
        outputs = strongest(kernel, shape.width)
        slices.append(Slice(block, inputs, outputs))
        last, arriving = block + 1, outputs
    dense = base[-2]
    whole = last == (len(base) - STEM - 2) // BLOCK
    return carve(base, stem, slices, arriving if whole else strongest(dense, len(arriving), axis=0))


def resize(weights: Weights, old: Architecture, new: Architecture, seed: int = 0) -> Weights:
    """The weights of a network of architecture `old`, cut or widened to `new`, which has as many blocks.

    A narrower layer keeps its strongest channels. A wider one has its strongest ones twice, each of the two counting
    half for the next layer, so that the network computes what it did (Chen et al. 2016, "Net2Net"); the copies
    get noise, so that they part in training.

    Raises ValueError for another number of blocks.
    """
    if len(old.blocks) != len(new.blocks):
        raise ValueError(f"{len(old.blocks)} blocks cannot be resized to {len(new.blocks)}")
    rng = np.random.default_rng(seed)
    chosen = [_resized(weights[_pointwise_at(layer)], width) for layer, width in enumerate(new.widths)]
    slices = [Slice(block, chosen[block], chosen[block + 1]) for block in range(len(new.blocks))]
    taken = carve(weights, chosen[0], slices, chosen[-1])
    for layer, channels in enumerate(chosen):
        copies = np.bincount(channels)[channels]
        again = np.ones(len(channels), bool)
        again[np.unique(channels, return_index=True)[1]] = False
        kernel, consumer = _pointwise_at(layer), -2 if layer == len(new.blocks) else _pointwise_at(layer + 1)
        noise = COPY_NOISE * rng.standard_normal(taken[kernel].shape)
        taken[kernel] = (taken[kernel] * np.where(again, 1 + noise, 1)).astype(np.float32)
        taken[consumer] = (taken[consumer] / copies[:, None]).astype(np.float32)
    return taken


def _resized(kernel: NDArray[np.float32], width: int) -> Channels:
    """`width` of the kernel's output channels: the strongest, or all and the strongest once more."""
    channels = kernel.shape[3]
    if width <= channels:
        return strongest(kernel, width)
    ranked = np.argsort(-np.abs(kernel).sum(axis=(0, 1, 2)), kind="stable")
    return np.sort(np.concatenate([np.arange(channels), np.resize(ranked, width - channels)]))


def carve(weights: Weights, stem: Channels, slices: Sequence[Slice], dense: Channels) -> Weights:
    """The weights of the network that these channels of stem, blocks and dense layer make up."""
    taken = [weights[0][..., stem], *(vector[stem] for vector in weights[1:STEM])]
    for cut in slices:
        start = STEM + BLOCK * cut.block
        depthwise, *depthwise_norm = weights[start : start + 5]
        pointwise, *pointwise_norm = weights[start + 5 : start + BLOCK]
        taken += [depthwise[:, :, cut.inputs], *(vector[cut.inputs] for vector in depthwise_norm)]
        taken.append(pointwise[:, :, cut.inputs][..., cut.outputs])
        taken += [vector[cut.outputs] for vector in pointwise_norm]
    return [*taken, weights[-2][dense], weights[-1]]


def strongest(kernel: NDArray[np.float32], count: int, axis: int = 3) -> Channels:
    """The `count` channels along `axis` with the largest L1 norm, rising; ties go to the lower index."""
    others = tuple(other for other in range(kernel.ndim) if other != axis)
    norms = np.abs(kernel).sum(axis=others)
    return np.sort(np.argsort(-norms, kind="stable")[:count])


def _pointwise_at(layer: int) -> int:
    """Where the kernel stands that decides a layer's channels: 0 is the stem, k + 1 block k's pointwise."""
    return 0 if layer == 0 else STEM + BLOCK * (layer - 1) + 5


def _silence(weights: Weights, kernel: int, channels: Channels, axis: int) -> None:
    index = (slice(None),) * axis + (channels,)
    weights[kernel][index] = 0
    for vector, value in zip(weights[kernel + 1 : kernel + 5], (0, 0, 0, 1), strict=True):
        vector[channels] = value


def _alive(weights: Weights, kernel: int) -> NDArray[np.bool_]:
    gamma, beta = weights[kernel + 1 : kernel + 3]
    return np.asarray((gamma != 0) | (beta != 0))
