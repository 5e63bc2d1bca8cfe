"""The end of a search: which candidates are trained for longer, in which schemes, and by which of the workers."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from record_factories import ACCURACY, architecture, complete, failed, pruned, records, waiting
from workers import work, worker

from compress.quantization import Quantization
from compress.spec import CompressionSpec
from search.config_sections import FinalTraining
from search.evaluation import Accuracy, EndReason
from search.objective import Objective
from search.runner.final_training import (
    MAX_QUANTIZATION_LOSS_POINTS,
    enqueue_next,
    final_trainings,
    hopeless_schemes,
    next_candidate,
    other_schemes,
    run_final_training,
    run_unless_duplicate,
)
from search.storage.open_storage import open_storage
from search.storage.trial_history import TrialHistory
from search.storage.trial_record import Refinement, TrialRecord, read_trials

SPEC = CompressionSpec((0.5,) * 14, stem_stride=2, epochs=4)
LATENCY = Objective.LATENCY


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"))


def candidate(value: float, predicted_violation: float, **facts: Any) -> FrozenTrial:
    """Return a trial of the search; it misses the constraint by 3 points more than is predicted."""
    return complete(
        value,
        **{
            "spec": SPEC,
            "predicted_violation": predicted_violation,
            "constraint_violation": predicted_violation + 3,
            **facts,
        },
    )


def final_training(
    value: float, quantization: str, *, violation: float = 0.0, of: int = 0, spec: CompressionSpec = SPEC, **facts: Any
) -> FrozenTrial:
    """Return a complete final training in this scheme."""
    return complete(
        value,
        spec=replace(spec, quantization=quantization),
        refinement=Refinement(of),
        constraint_violation=violation,
        architecture=architecture(value, advantage=1.0),
        **facts,
    )


def too_slow(quantization: str, advantage: float) -> FrozenTrial:
    """Return a final training in this scheme whose architecture could not win; `advantage`: over the best so far."""
    return pruned(
        EndReason.SLOWER_ARCHITECTURE,
        spec=replace(SPEC, quantization=quantization),
        refinement=Refinement(0),
        architecture=architecture(1.0, advantage=advantage),
    )


def numbers(found: dict[int, list[TrialRecord]]) -> dict[int, list[int]]:
    return {origin: [record.number for record in tries] for origin, tries in found.items()}


def chosen_from(*trials: FrozenTrial, objective: Objective = LATENCY) -> int | None:
    found = next_candidate(records(*trials), objective)
    return None if found is None else found.number


def test_candidates_are_chosen_by_their_prediction_and_correct_it() -> None:
    known = [candidate(1.0, 0.5), candidate(2.0, -0.4), candidate(3.0, -2.0)]
    assert chosen_from(*known) == 1  # the first is predicted to miss the constraint
    known.append(candidate(2.1, 0.6, refinement=Refinement(1), constraint_violation=0.6))
    assert chosen_from(*known) == 2  # a point less than predicted is expected of the next, which has two to spare
    known.append(waiting(refinement=Refinement(2)))
    assert chosen_from(*known) is None


def test_the_highest_fom_comes_first() -> None:
    assert chosen_from(candidate(1.0, -1.0), candidate(2.0, -1.0), objective=Objective.FOM) == 1


def test_a_prediction_that_was_too_low_brings_in_one_that_was_predicted_to_miss() -> None:
    known = [candidate(2.0, -1.0), candidate(1.5, 0.9)]
    reached = complete(1.7, predicted_violation=-2.0, constraint_violation=0.5, refinement=Refinement(0))
    assert chosen_from(*known, reached) == 1  # the mean error is a point


def test_what_is_behind_the_best_is_not_trained_for_longer() -> None:
    won = complete(1.0, constraint_violation=-1.0, refinement=Refinement(0))
    assert chosen_from(candidate(1.0, -1.0), candidate(1.5, -2.0), won) is None
    assert chosen_from(candidate(1.0, -1.0), candidate(1.01, -2.0), won) == 1  # they tie


def test_where_none_is_predicted_feasible_the_first_is_one_that_nearly_is(study: optuna.Study) -> None:
    study.add_trial(candidate(1.0, 2.1))
    assert not enqueue_next(study, read_trials(study), LATENCY)
    study.add_trial(candidate(2.0, 1.9))
    study.add_trial(candidate(3.0, 0.1))
    assert enqueue_next(study, read_trials(study), LATENCY)
    enqueued = read_trials(study)[-1]
    assert (enqueued.state, enqueued.refinement) == (TrialState.WAITING, Refinement(2))
    assert not enqueue_next(study, read_trials(study), LATENCY)  # before it is known what that one reaches


def test_a_final_training_that_was_retried_counts_by_its_retry() -> None:
    known = records(
        waiting(),
        failed(EndReason.INVALID_MEASUREMENT, refinement=Refinement(0), retried=True),
        waiting(refinement=Refinement(0), retry_of=1),
    )
    assert numbers(final_trainings(known)) == {0: [2]}


@pytest.mark.parametrize("reason", [EndReason.OUT_OF_TIME, EndReason.DUPLICATE])
def test_what_the_budget_cut_off_and_duplicates_do_not_count(reason: EndReason) -> None:
    known = records(candidate(1.0, -1.0), pruned(reason, refinement=Refinement(0)), waiting(refinement=Refinement(0)))
    assert numbers(final_trainings(known)) == {0: [2]}


@pytest.mark.parametrize("is_maximized", [False, True])
def test_a_scheme_that_was_far_behind_once_is_tried_for_no_other_candidate(is_maximized: bool) -> None:
    def worse(times: float) -> float:
        return 1 / times if is_maximized else times

    known = records(
        final_training(worse(1.0), "float32"),
        *(too_slow(name, 1 / times) for times, name in ((1.9, "float16"), (20.0, "int16x8"), (2.1, "int8"))),
        too_slow("float32", 0.95),  # its one sample was disturbed, not the windows in turns
        final_training(worse(9.0), "dynamic", violation=1.0),  # it was trained, and measured
        final_training(worse(0.5), "float32"),  # float16 was not far behind at its time
    )
    assert hopeless_schemes(known) == {Quantization.INT16X8, Quantization.INT8}


def test_what_the_search_gave_up_makes_no_scheme_hopeless() -> None:
    slow = pruned(EndReason.SLOWER_ARCHITECTURE, spec=SPEC, architecture=architecture(9.0, advantage=0.1))
    assert hopeless_schemes(records(slow)) == set()


def test_aware_training_is_tried_where_int8_costs_accuracy() -> None:
    schemes = [Quantization.FLOAT32, Quantization.INT8, Quantization.QAT_INT8]

    def others(quantization: str, loss_points: float) -> list[str]:
        curve = [20.0, ACCURACY.search_percent + loss_points]
        (first,) = records(final_training(1.0, quantization, curve=curve))
        return [str(scheme) for scheme in other_schemes(first, schemes)]

    assert others("int8", MAX_QUANTIZATION_LOSS_POINTS + 0.1) == ["float32", "qat_int8"]
    assert others("int8", MAX_QUANTIZATION_LOSS_POINTS - 0.1) == ["float32"]
    assert others("float32", 5.0) == ["int8"]
    assert other_schemes(records(failed(EndReason.CANDIDATE_FAILED, spec=SPEC))[0], schemes) == []


def run_with(study: optuna.Study, monkeypatch: pytest.MonkeyPatch, context: Any, deadline_s: float = 60) -> list[bool]:
    """Run the final trainings without any training; return one True for each call of `search_on`."""
    searched: list[bool] = []

    def search_on() -> bool:
        searched.append(True)
        return False

    for name, result in (("run_waiting", None), ("enqueue_next", False)):
        monkeypatch.setattr(f"search.runner.final_training.{name}", lambda *_, result=result: result)
    run_final_training(study, context, TrialHistory(study), time.monotonic() + deadline_s, search_on)
    return searched


def test_a_later_candidate_is_tried_in_all_schemes_but_the_hopeless_ones(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.add_trial(candidate(1.0, 0.0))
    study.add_trial(final_training(1.0, "float32"))
    study.add_trial(too_slow("int16x8", 0.05))
    study.add_trial(candidate(0.9, 0.0))
    accuracy = Accuracy(70.0, 70.0, 70.0)
    study.add_trial(final_training(0.9, "float32", of=3, curve=[70.0], accuracy=accuracy))
    assert run_with(study, monkeypatch, worker(final_training=FinalTraining(candidates=9))) == [True]
    enqueued = [record for record in read_trials(study) if record.state is TrialState.WAITING]
    assert [record.refinement for record in enqueued] == [
        Refinement(3, "float16"),
        Refinement(3, "dynamic"),
        Refinement(3, "int8"),
    ]


@pytest.mark.parametrize(
    ("context", "deadline_s"),
    [
        (worker(parent_pid=-1, final_training=FinalTraining(candidates=9)), 60),
        (worker(final_training=FinalTraining(candidates=0)), 60),
        (worker(final_training=FinalTraining(candidates=9)), -1),
    ],
    ids=["orphan", "no candidates", "late"],
)
def test_where_there_is_no_final_training_nothing_is_searched_either(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, context: Any, deadline_s: float
) -> None:
    assert run_with(study, monkeypatch, context, deadline_s) == []


def test_of_two_workers_that_enqueue_the_same_final_training_one_runs_it(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, int8, float16 = Refinement(0), Refinement(0, "int8"), Refinement(0, "float16")
    study.add_trial(pruned(EndReason.OUT_OF_TIME, "out of time: no time", refinement=int8))  # neither this one counts
    study.add_trial(failed(EndReason.INVALID_MEASUREMENT, refinement=int8, retried=True))  # nor this one
    for refinement in (plain, int8, int8, float16, plain):
        study.add_trial(waiting(refinement=refinement))
    context, history = worker(), TrialHistory(study)
    ran: list[int] = []

    def run_trial(trial: optuna.Trial, *_: object) -> float:
        ran.append(trial.number)
        return 1.0

    monkeypatch.setattr("search.runner.final_training.run_trial", run_trial)
    work(
        study,
        lambda trial: run_unless_duplicate(trial, context, history, 0.0),
        lambda: len(study.get_trials(states=(TrialState.WAITING,))),
        context,
    )
    assert ran == [2, 3, 5]
    found = read_trials(study)
    duplicates = [record for record in found if record.end_reason is EndReason.DUPLICATE]
    assert [(record.number, record.state) for record in duplicates] == [(4, TrialState.PRUNED), (6, TrialState.PRUNED)]
    assert duplicates[0].message == "duplicate: trial 3 is the same final training"
    assert numbers(final_trainings(found)) == {0: [2, 3, 5]}
