"""Whose weights a candidate begins with."""

import math
from dataclasses import replace
from typing import Any

import pytest

from compress.spec import CompressionSpec
from search.config_sections import FinalTraining
from search.strategy.warm_start import MAX_DISTANCE, choose_parent, distance, promised_gain, weights_only

DROPPED = (0, *range(4, 13))
SPEC = CompressionSpec((0.5, 0.0, 0.75, 0.5, 0.625, *(0.0,) * 9), dropped_blocks=DROPPED, stem_stride=2, epochs=4)


def thinner(share: float) -> CompressionSpec:
    """Return SPEC with fewer channels in its last block."""
    return replace(SPEC, pruning_ratios=(*SPEC.pruning_ratios[:4], share, *(0.0,) * 9))


def test_the_nearest_trained_candidate_is_the_parent() -> None:
    near, far, deeper = thinner(0.7), thinner(0.9), replace(SPEC, dropped_blocks=DROPPED[1:])
    child = choose_parent(thinner(0.75), [far, replace(near, quantization="int8", io_dtype="int8"), deeper])
    assert child == replace(thinner(0.75), parent=near)  # its training, whatever scheme it was converted to
    assert child.all_epochs == 8
    assert choose_parent(SPEC, [deeper]) == SPEC  # another depth: from the base
    thin = replace(SPEC, pruning_ratios=(0.95,) * 14)
    assert distance(thin.architecture(), SPEC.architecture()) > MAX_DISTANCE
    assert choose_parent(thin, [SPEC]).parent is None


def test_the_same_architecture_needs_no_training_again() -> None:
    trained = replace(SPEC, parent=thinner(0.5))
    wanted = replace(SPEC, quantization="int8", io_dtype="int8", epochs=8)
    assert choose_parent(wanted, [trained]) == replace(trained, quantization="int8", io_dtype="int8")
    assert choose_parent(wanted, [SPEC, trained]).all_epochs == 8  # the longer trained of the two
    longer = replace(SPEC, epochs=9)
    assert choose_parent(longer, [trained]) == replace(longer, parent=trained)  # too short: it continues from there
    aware = replace(SPEC, quantization="qat_int8")
    assert choose_parent(aware, [trained]) == aware  # trained as a whole
    assert choose_parent(SPEC, [aware]) == SPEC


@pytest.mark.parametrize("other", [{"distill_weight": 0.9}, {"augment": False}, {"learning_rate": 0.01}])
def test_what_was_trained_otherwise_does_not_replace_the_training_that_is_wanted(other: dict[str, Any]) -> None:
    trained = replace(SPEC, **other)
    assert choose_parent(SPEC, [trained]) == replace(SPEC, parent=trained)  # trained as wanted, from its weights
    alike = thinner(0.5)
    chosen = choose_parent(SPEC, [trained, replace(SPEC, parent=alike)])
    assert chosen.distill_weight == SPEC.distill_weight
    longer = replace(trained, epochs=40)
    assert choose_parent(SPEC, [longer, SPEC]) == SPEC  # the same training goes before a longer one of another kind


def test_distance_counts_widths_and_strides() -> None:
    shape = SPEC.architecture()
    assert distance(shape, shape) == 0
    assert distance(shape, replace(shape, stem_width=2 * shape.stem_width)) == pytest.approx(math.log(2))
    assert distance(shape, replace(shape, stem_stride=4)) == 0.5


def test_trained_weights_depend_on_no_scheme_but_that_of_aware_training() -> None:
    converted = replace(SPEC, quantization="int8", io_dtype="uint8", threads=2)
    assert weights_only(converted) == SPEC
    aware = replace(SPEC, quantization="qat_int8", io_dtype="int8")
    assert weights_only(aware) == replace(SPEC, quantization="qat_int8")


def test_the_final_training_promises_nothing_where_there_is_none() -> None:
    assert promised_gain(SPEC, FinalTraining(candidates=0)) == 0.0
    final = FinalTraining(candidates=1, epochs=12, points_per_doubling=3.0)
    assert promised_gain(SPEC, final) == 3.0 * math.log2(1 + 12 / 4)
    assert promised_gain(replace(SPEC, parent=SPEC), final) == 3.0 * math.log2(1 + 12 / 8)
