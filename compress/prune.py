"""Structured pruning by L1 norm (Li et al. 2017, "Pruning Filters for Efficient ConvNets").

Weights are Keras' flat list: the stem's kernel and its BatchNorm (gamma, beta, mean, variance); for each
block the depthwise kernel and its BatchNorm, the pointwise kernel and its BatchNorm; at the end the dense
kernel and bias.

`channel_fraction_pruning` and `remove_channel` are the functions of the course's assignment, for networks in
Python. The search uses `inherit` and `resize`, which work on weights and change depth and width at once.
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

CONVOLUTION_ARRAYS = 5
"""A convolution's arrays: kernel, gamma, beta, mean, variance."""
BLOCK_ARRAYS = 2 * CONVOLUTION_ARRAYS
COPY_NOISE = 0.05
"""Standard deviation of the factor by which a copied channel differs from its original."""


@dataclass(frozen=True)
class ChannelSlice:
    """The input and output channels that are taken of one block."""

    block: int
    inputs: Channels
    outputs: Channels


def channel_fraction_pruning(model: Any, pruning_ratio: float | Sequence[float]) -> Any:
    """Return a copy of `model` whose channels with the lowest L1 norm are masked.

    The filter, BatchNorm scale and offset of a masked channel are zero, those of the depthwise convolution
    that follows as well, so that `remove_channel` changes no output. Part of the course's interface.

    Args:
        model: a network as `build` returns it.
        pruning_ratio: share of channels, >= 0 and < 1: one number, or one for the stem and one for each
            block's pointwise convolution. A depthwise convolution loses the channels that its input loses.

    Raises:
        UsageError: a pruning ratio is out of range, or there is a wrong number of them.
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
        width = architecture.widths[layer]
        kernel = _kernel_index(layer)
        kept = top_l1_channels(weights[kernel], kept_channels(width, ratio))
        masked = np.setdiff1d(np.arange(width), kept)
        _mask(weights, kernel, masked, axis=3)
        if layer + 1 < layers:
            _mask(weights, kernel + CONVOLUTION_ARRAYS, masked, axis=2)
    copy = build(architecture)
    copy.set_weights(weights)
    return copy


def remove_channel(model: Any) -> Any:
    """Return a smaller network without the masked channels of `model`; it computes the same outputs.

    A channel is removed when its BatchNorm gives nothing (scale and offset zero) and neither does that of the
    depthwise convolution that follows. At least one channel stays in each layer. Part of the course's interface.
    """
    architecture = architecture_of(model)
    weights = model.get_weights()
    kept: list[Channels] = []
    for layer in range(len(architecture.widths)):
        alive = _gives_output(weights, _kernel_index(layer))
        if layer + 1 < len(architecture.widths):
            alive |= _gives_output(weights, _kernel_index(layer) + CONVOLUTION_ARRAYS)
        kept.append(np.flatnonzero(alive) if alive.any() else np.array([0]))
    slices = _adjacent_slices(kept)
    blocks = [
        Block(len(part.outputs), old.stride) for part, old in zip(slices, architecture.blocks, strict=True)
    ]
    smaller = build(Architecture(len(kept[0]), architecture.stem_stride, tuple(blocks)))
    smaller.set_weights(slice_weights(weights, kept[0], slices, kept[-1]))
    return smaller


def inherit(base: Weights, spec: CompressionSpec) -> Weights:
    """Return the base's weights cut down to `spec.architecture()`: the strongest channels of each layer.

    Behind a dropped block the channels do not belong together. The next layer takes as many of its own inputs
    as arrive, the strongest ones, and training has to join them.
    """
    architecture = spec.architecture()
    stem = top_l1_channels(base[0], architecture.stem_width)
    slices: list[ChannelSlice] = []
    last_layer = 0
    arriving = stem
    for block, shape in zip(spec.kept_blocks, architecture.blocks, strict=True):
        kernel = base[_kernel_index(block + 1)]
        inputs = arriving
        if last_layer != block:  # a block before this one is dropped
            inputs = top_l1_channels(kernel, len(arriving), axis=2)
        outputs = top_l1_channels(kernel, shape.width)
        slices.append(ChannelSlice(block, inputs, outputs))
        last_layer = block + 1
        arriving = outputs
    blocks_of_base = (len(base) - CONVOLUTION_ARRAYS - 2) // BLOCK_ARRAYS
    if last_layer != blocks_of_base:
        arriving = top_l1_channels(base[-2], len(arriving), axis=0)
    return slice_weights(base, stem, slices, arriving)


def resize(weights: Weights, old: Architecture, new: Architecture, seed: int = 0) -> Weights:
    """Return the weights of a network of architecture `old`, cut or widened to `new`.

    A narrower layer keeps its strongest channels. A wider one has its strongest channels twice, and each of
    the two counts half in the next layer, so that the network computes the same (Chen et al. 2016, "Net2Net").
    Noise makes the copies differ, so that training can separate them.

    Args:
        weights: those of `build(old)`.
        old: their architecture.
        new: the wanted architecture, with as many blocks.
        seed: of the noise.

    Raises:
        ValueError: the number of blocks differs.
    """
    if len(old.blocks) != len(new.blocks):
        raise ValueError(f"{len(old.blocks)} blocks cannot be resized to {len(new.blocks)}")
    rng = np.random.default_rng(seed)
    chosen = [_widened(weights[_kernel_index(layer)], width) for layer, width in enumerate(new.widths)]
    resized = slice_weights(weights, chosen[0], _adjacent_slices(chosen), chosen[-1])
    for layer, channels in enumerate(chosen):
        is_copy = np.ones(len(channels), bool)
        is_copy[np.unique(channels, return_index=True)[1]] = False
        kernel = _kernel_index(layer)
        noise = COPY_NOISE * rng.standard_normal(resized[kernel].shape)
        resized[kernel] = (resized[kernel] * np.where(is_copy, 1 + noise, 1)).astype(np.float32)
        consumer = -2 if layer == len(new.blocks) else _kernel_index(layer + 1)
        occurrences = np.bincount(channels)[channels]
        resized[consumer] = (resized[consumer] / occurrences[:, None]).astype(np.float32)
    return resized


def _widened(kernel: NDArray[np.float32], width: int) -> Channels:
    """Return `width` of the kernel's output channels: the strongest, or all and the strongest once more."""
    channels = kernel.shape[3]
    if width <= channels:
        return top_l1_channels(kernel, width)
    ranked = np.argsort(-np.abs(kernel).sum(axis=(0, 1, 2)), kind="stable")
    copies = np.resize(ranked, width - channels)
    return np.sort(np.concatenate([np.arange(channels), copies]))


def _adjacent_slices(kept: Sequence[Channels]) -> list[ChannelSlice]:
    """Return the slices of all blocks, given the channels kept of the stem and of each block."""
    return [ChannelSlice(block, kept[block], kept[block + 1]) for block in range(len(kept) - 1)]


def slice_weights(
    weights: Weights, stem: Channels, slices: Sequence[ChannelSlice], dense: Channels
) -> Weights:
    """Return the weights of the network that has these channels.

    Args:
        weights: those of the larger network.
        stem: the stem's output channels.
        slices: the blocks that stay, with their channels.
        dense: the inputs of the dense layer.
    """
    sliced = [weights[0][..., stem]]
    sliced += [vector[stem] for vector in weights[1:CONVOLUTION_ARRAYS]]
    for part in slices:
        start = CONVOLUTION_ARRAYS + BLOCK_ARRAYS * part.block
        middle = start + CONVOLUTION_ARRAYS
        depthwise, *depthwise_norm = weights[start:middle]
        pointwise, *pointwise_norm = weights[middle : start + BLOCK_ARRAYS]
        sliced.append(depthwise[:, :, part.inputs])
        sliced += [vector[part.inputs] for vector in depthwise_norm]
        sliced.append(pointwise[:, :, part.inputs][..., part.outputs])
        sliced += [vector[part.outputs] for vector in pointwise_norm]
    return [*sliced, weights[-2][dense], weights[-1]]


def top_l1_channels(kernel: NDArray[np.float32], count: int, axis: int = 3) -> Channels:
    """Return the `count` channels along `axis` with the largest L1 norm, rising; ties go to the lower index."""
    others = tuple(other for other in range(kernel.ndim) if other != axis)
    norms = np.abs(kernel).sum(axis=others)
    return np.sort(np.argsort(-norms, kind="stable")[:count])


def _kernel_index(layer: int) -> int:
    """Return the index of the kernel that decides a layer's channels.

    Layer 0 is the stem, layer k + 1 the pointwise convolution of block k. The stem has half a block's arrays, and so
    has the depthwise convolution before a pointwise one: whole blocks precede each kernel.
    """
    return BLOCK_ARRAYS * layer


def _mask(weights: Weights, kernel: int, channels: Channels, axis: int) -> None:
    index = (slice(None),) * axis + (channels,)
    weights[kernel][index] = 0
    gamma, beta, mean, variance = weights[kernel + 1 : kernel + CONVOLUTION_ARRAYS]
    for vector in (gamma, beta, mean):
        vector[channels] = 0
    variance[channels] = 1


def _gives_output(weights: Weights, kernel: int) -> NDArray[np.bool_]:
    gamma, beta = weights[kernel + 1 : kernel + 3]
    return np.asarray((gamma != 0) | (beta != 0))
