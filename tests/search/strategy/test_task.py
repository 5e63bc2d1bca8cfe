"""What a trial has to do: what it trains, what it has to beat, and when it is given up."""

from dataclasses import replace

import pytest
from optuna.trial import TrialState
from record_factories import architecture, complete, pruned, records, trial, waiting

from compress.spec import CompressionSpec
from search.config import StudyConfig
from search.config_sections import FinalTraining
from search.evaluation import Accuracy, EndReason
from search.storage.trial_record import Refinement
from search.strategy.ranking import TIE
from search.strategy.task import Incumbent, Requirements, final_training_task, refined_spec, search_task
from search.strategy.warm_start import promised_gain

SPEC = CompressionSpec((0.5,) * 14, stem_stride=2, epochs=4)
CONFIG = StudyConfig(name="test", road="latency", final_training=FinalTraining(candidates=3))
REQUIREMENTS = Requirements(constraint_percent=70.0, required_percent=71.5, deadline_s=100.0)
PRECISE = Accuracy(validation_percent=71.0, search_percent=70.5, decision_percent=71.4)


def test_a_candidate_of_the_search_has_to_beat_what_is_predicted_to_win() -> None:
    known = records(
        complete(1.0, spec=SPEC, constraint_violation=3.0, predicted_violation=-1.0, accuracy=PRECISE),
        complete(0.5, spec=SPEC, constraint_violation=-1.0, predicted_violation=0.1),
    )
    found = search_task(SPEC, [], known, CONFIG, REQUIREMENTS)
    assert found.incumbent == Incumbent(0, 1.0, SPEC, 70.5)
    assert (found.spec, found.requirements, found.tie) == (SPEC, REQUIREMENTS, 0.0)
    assert found.expected_gain == promised_gain(SPEC, CONFIG.final_training) > 0
    assert found.least_percent == 71.5 - found.expected_gain


def test_a_candidate_of_the_search_starts_from_a_trained_one() -> None:
    parent = replace(SPEC, pruning_ratios=(0.45,) * 14)
    assert search_task(SPEC, [parent], [], CONFIG, REQUIREMENTS).spec == replace(SPEC, parent=parent)


def test_a_final_training_has_to_beat_what_meets_the_constraint_and_is_never_stopped() -> None:
    known = records(
        complete(1.0, spec=SPEC, constraint_violation=3.0, predicted_violation=-1.0),
        complete(2.0, spec=SPEC, constraint_violation=-1.0, accuracy=PRECISE),
        trial(TrialState.RUNNING, refinement=Refinement(0)),
    )
    found = final_training_task(known[2], known, CONFIG, REQUIREMENTS)
    assert found.incumbent == Incumbent(1, 2.0, SPEC, 70.5)
    assert found.tie == TIE
    assert (found.least_percent, found.expected_gain) == (0.0, 0.0)
    assert found.spec == refined_spec(known[2], known, CONFIG)


def test_where_nothing_is_known_there_is_nothing_to_beat() -> None:
    known = records(waiting(), pruned(EndReason.OUT_OF_REACH, spec=SPEC, predicted_violation=5.0))
    assert search_task(SPEC, [], known, CONFIG, REQUIREMENTS).incumbent is None


def test_the_bound_is_learnt_from_all_architectures_that_were_measured() -> None:
    known = records(
        complete(1.0, spec=SPEC, architecture=architecture(0.5, macs=10)),
        pruned(EndReason.SLOWER_ARCHITECTURE, spec=SPEC, architecture=architecture(0.7, macs=20)),
        complete(1.0, spec=SPEC),
    )
    assert search_task(SPEC, [], known, CONFIG, REQUIREMENTS).measured_architectures == [(10, 0.5), (20, 0.7)]


def refined(origin: CompressionSpec, quantization: str | None = None) -> CompressionSpec:
    """Return what a final training trains, in the origin's own scheme or in another."""
    known = records(complete(1.0, spec=origin), trial(TrialState.RUNNING, refinement=Refinement(0, quantization)))
    return refined_spec(known[1], known, CONFIG)


def test_a_final_training_is_in_float_and_the_aware_one_begins_where_it_ended() -> None:
    parent = replace(SPEC, pruning_ratios=(0.25,) * 14)
    origin = replace(SPEC, parent=parent, quantization="int8", io_dtype="int8", threads=2)
    plain = replace(origin, quantization="float32", io_dtype="float32", threads=1)
    first, float32, aware = (refined(origin, name) for name in (None, "float32", "qat_int8"))
    assert first == replace(origin, epochs=40, parent=plain)
    assert replace(first, quantization="float32", io_dtype="float32") == float32
    trained = replace(float32, threads=1)
    assert aware == replace(first, epochs=10, parent=trained, quantization="qat_int8")
    assert aware.all_epochs == first.all_epochs + 10


@pytest.mark.parametrize("quantization", [None, "qat_int8"])
def test_a_candidate_that_was_aware_from_the_beginning_is_trained_as_a_whole(quantization: str | None) -> None:
    origin = replace(SPEC, quantization="qat_int8", io_dtype="int8")
    assert refined(origin, quantization) == replace(origin, epochs=40)
