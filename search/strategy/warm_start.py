"""Warm start: which trained network a candidate starts from."""

import math
from collections.abc import Iterable
from dataclasses import replace

from compress.architecture import Architecture
from compress.quantization import Quantization
from compress.spec import CompressionSpec
from search.config_sections import FinalTraining
from search.strategy.early_stopping import gain_to_come

STRIDE_DISTANCE = 0.5
"""A stride that differs counts as much as a layer that is 1.6 times as wide."""
MAX_DISTANCE = 2.5
"""Beyond this distance the base is the better start."""
QAT_SHARE = 4
"""qat_int8 from the base spends the last fourth of its epochs, at least one, on the quantization-aware network."""


def choose_parent(spec: CompressionSpec, trained: Iterable[CompressionSpec]) -> CompressionSpec:
    """Return `spec` with the nearest of the trained candidates as its parent, if one is near.

    Of several equally near, one that was trained in the same way is taken, and of these the one trained for longest.
    A trained candidate of the very same architecture, trained in the same way and for as long, gives its training as
    well: only the conversion is left to do.
    """
    if spec.quantization.needs_aware_training:  # trained as a whole, from the base
        return spec
    shape = spec.architecture()

    def nearness(other: CompressionSpec) -> tuple[float, bool, int]:
        return distance(shape, other.architecture()), not is_trained_alike(other, spec), -other.all_epochs

    candidates = [other for other in trained if not other.quantization.needs_aware_training]
    nearest = min(candidates, key=nearness, default=None)
    if nearest is None or distance(shape, nearest.architecture()) > MAX_DISTANCE:
        return spec
    is_same = nearest.architecture() == shape and is_trained_alike(nearest, spec)
    if is_same and nearest.all_epochs >= spec.epochs:
        return replace(nearest, quantization=spec.quantization, io_dtype=spec.io_dtype, threads=spec.threads)
    return replace(spec, parent=weights_only(nearest))


def promised_gain(spec: CompressionSpec, final: FinalTraining) -> float:
    """Return the points of accuracy that the final training is expected to add; 0 where there is none."""
    if not final.candidates:
        return 0.0
    return gain_to_come(spec.epochs, spec.all_epochs - spec.epochs, final.epochs, final.points_per_doubling)


def is_trained_alike(one: CompressionSpec, other: CompressionSpec) -> bool:
    """Return True where both ask for the same training, except for its length."""
    names = ("learning_rate", "augment", "distill_weight")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def weights_only(spec: CompressionSpec) -> CompressionSpec:
    """Return the spec without what its trained weights do not depend on."""
    is_aware = spec.quantization.needs_aware_training
    quantization = Quantization.QAT_INT8 if is_aware else Quantization.FLOAT32
    return replace(spec, quantization=quantization, io_dtype="float32", threads=1)


def distance(one: Architecture, other: Architecture) -> float:
    """Return how far two architectures are apart; infinite where they differ in depth.

    The absolute logarithms of the ratios of their widths are added, and STRIDE_DISTANCE for each stride that differs.
    """
    if len(one.blocks) != len(other.blocks):
        return math.inf
    total = sum(abs(math.log(a / b)) for a, b in zip(one.widths, other.widths, strict=True))
    strides = [(one.stem_stride, other.stem_stride)]
    strides += [(a.stride, b.stride) for a, b in zip(one.blocks, other.blocks, strict=True)]
    return total + STRIDE_DISTANCE * sum(a != b for a, b in strides)
