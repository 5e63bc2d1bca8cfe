"""Which trials are the best: by the search's short measurements, and by those of the final comparison."""

from typing import Any

import pytest
from optuna.trial import FrozenTrial
from record_factories import architecture, complete, failed, pruned, records, waiting

from compress.spec import CompressionSpec
from search.evaluation import Accuracy, EndReason
from search.objective import Objective
from search.storage.trial_record import Refinement, TrialRecord
from search.strategy.ranking import (
    MAX_SHORTLIST,
    best_trial,
    best_value,
    is_close,
    rank,
    rank_predicted,
    shortlist,
)

LATENCY, FOM = Objective.LATENCY, Objective.FOM


def trial(value: float, predicted_violation: float = -4.0, **facts: Any) -> FrozenTrial:
    """Return a complete trial of a model of its own; it misses the constraint by 3 points more than is predicted."""
    violation = facts.pop("constraint_violation", predicted_violation + 3)
    percent = 71.8 - violation
    values = {
        "spec": CompressionSpec(),
        "predicted_violation": predicted_violation,
        "constraint_violation": violation,
        "accuracy": Accuracy(percent, percent, percent),
        "model": str(value).encode(),
        **facts,
    }
    return complete(value, **values)


def numbers(found: list[TrialRecord]) -> list[int]:
    return [record.number for record in found]


def test_only_complete_trials_that_meet_the_constraint_are_ranked() -> None:
    known = records(
        trial(3.0),
        trial(1.0, constraint_violation=0.1),
        pruned(EndReason.OUT_OF_REACH, curve=[0.5]),  # Optuna takes its last accuracy for its value
        failed(EndReason.CANDIDATE_FAILED),
        waiting(),
        trial(2.0, constraint_violation=0.0),
    )
    assert numbers(rank(known, LATENCY)) == [5, 0]
    assert numbers(rank(known, FOM)) == [0, 5]
    assert (best_value(known, LATENCY), best_value(known, FOM)) == (2.0, 3.0)
    assert best_value(known[1:5], LATENCY) is None
    assert best_trial(known[1:5], LATENCY, {}) is None
    assert shortlist(known[1:5], LATENCY) == []


def test_the_result_of_a_final_training_replaces_the_prediction() -> None:
    known = records(
        trial(1.0, 0.5),  # is predicted to miss the constraint
        trial(2.0, -0.4),
        trial(3.0, -2.0),
        trial(2.1, 0.6, refinement=Refinement(1), constraint_violation=0.6),
    )
    assert numbers(rank_predicted(known[:3], LATENCY)) == [1, 2]
    assert numbers(rank_predicted(known, LATENCY)) == [2]  # the final training missed: so does its candidate


def test_a_final_training_that_is_not_over_replaces_no_prediction() -> None:
    known = records(trial(2.0, -0.4), waiting(refinement=Refinement(0)))
    assert numbers(rank_predicted(known, LATENCY)) == [0]


def test_of_those_that_tie_the_most_accurate_is_the_best() -> None:
    values = ((1.0, -0.1), (1.019, -0.9), (1.03, -2.0))
    close = [trial(value, -5.0, constraint_violation=violation) for value, violation in values]
    best = best_trial(records(*close), LATENCY, {})
    assert best is not None and best.number == 1


@pytest.mark.parametrize(
    ("value", "to", "is_a_tie"),
    [
        (1.0, 1.0, True),
        (0.981, 1.0, True),
        (1.0, 0.981, True),
        (0.979, 1.0, False),
        (1.0, 0.979, False),
        (None, 1.0, False),
        (1.0, None, False),
    ],
)
def test_values_within_two_percent_of_the_larger_one_are_close(
    value: float | None, to: float | None, is_a_tie: bool
) -> None:
    assert is_close(value, to) is is_a_tie


def test_a_measurement_that_something_disturbed_costs_no_place_on_the_shortlist() -> None:
    few = records(trial(1.0), trial(1.5, architecture=architecture(0.98)), trial(1.4))
    assert numbers(shortlist(few, LATENCY)) == [1, 0]
    half = Accuracy(50.0, 50.0, 50.0)
    fom = records(trial(80.0), trial(60.0, architecture=architecture(158.0), accuracy=half))
    assert numbers(shortlist(fom, FOM)) == [0, 1]  # 158 with all images right is 79 with half of them


def test_the_longer_measurements_decide_between_those_that_are_near() -> None:
    near = [(1.0, b"a"), (1.01, b"a"), (1.03, b"b"), (1.04, b"c"), (1.2, b"d")]  # the second is the first's model again
    known = records(*(trial(value, model=model) for value, model in near))
    assert numbers(shortlist(known, LATENCY)) == [0, 2, 3]

    def best(remeasured: dict[int, float]) -> int:
        found = best_trial(known, LATENCY, remeasured)
        assert found is not None
        return found.number

    assert best({0: 1.2, 2: 1.0, 3: 1.1}) == 2
    assert best({0: 1.2, 2: 1.1, 3: 1.0, 4: 0.1}) == 3  # what is not near has no say
    assert best({2: 0.9, 3: 1.0}) == 0  # one of them was found since: the search's values until the next comparison


def test_the_shortlist_is_short() -> None:
    many = records(*(trial(1.0 + number / 1000) for number in range(2 * MAX_SHORTLIST)))
    assert numbers(shortlist(many, LATENCY)) == list(range(MAX_SHORTLIST))
