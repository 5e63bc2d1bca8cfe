"""Whose trained weights a candidate begins with."""

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
FARTHEST = 2.5
"""Beyond this distance the base is the better start."""


def descend(spec: CompressionSpec, trained: Iterable[CompressionSpec]) -> CompressionSpec:
    """`spec` with the nearest of the trained candidates as its parent, if one is near.

    Of several that are as near, one that was trained in the same way, and of these the one trained for longest. One of
    the very same architecture that was trained as is asked, and for as long, gives its training as well: nothing but
    the conversion is left to be done.
    """
    if spec.quantization.needs_aware_training:  # trained as a whole, from the base
        return spec
    known = [other for other in trained if not other.quantization.needs_aware_training]
    shape = spec.architecture()
    near = min(
        known,
        key=lambda other: (distance(shape, other.architecture()), not is_trained_alike(other, spec), -other.all_epochs),
        default=None,
    )
    if near is None or distance(shape, near.architecture()) > FARTHEST:
        return spec
    if near.architecture() == shape and near.all_epochs >= spec.epochs and is_trained_alike(near, spec):
        return replace(near, quantization=spec.quantization, io_dtype=spec.io_dtype, threads=spec.threads)
    return replace(spec, parent=weights_only(near))


def promised_gain(spec: CompressionSpec, final: FinalTraining) -> float:
    """The points that the training of a finalist is expected to add to a candidate; 0 where there are no finalists."""
    if not final.candidates:
        return 0.0
    return gain_to_come(spec.epochs, spec.all_epochs - spec.epochs, final.epochs, final.points_per_doubling)


def is_trained_alike(one: CompressionSpec, other: CompressionSpec) -> bool:
    """Whether both ask for the same training, but for its length."""
    return all(getattr(one, name) == getattr(other, name) for name in ("learning_rate", "augment", "distill_weight"))


def weights_only(spec: CompressionSpec) -> CompressionSpec:
    """The specification without what its trained weights do not depend on."""
    aware = spec.quantization.needs_aware_training
    quantization = Quantization.QAT_INT8 if aware else Quantization.FLOAT32
    return replace(spec, quantization=quantization, io_dtype="float32", threads=1)


def distance(one: Architecture, other: Architecture) -> float:
    """How far two architectures are apart: logarithms of their widths, and strides; infinite for another depth."""
    if len(one.blocks) != len(other.blocks):
        return math.inf
    widths = sum(abs(math.log(a / b)) for a, b in zip(one.widths, other.widths, strict=True))
    strides = (one.stem_stride != other.stem_stride) + sum(
        a.stride != b.stride for a, b in zip(one.blocks, other.blocks, strict=True)
    )
    return widths + STRIDE_DISTANCE * strides
