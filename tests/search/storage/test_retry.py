"""Trials that are tried again: whose, with what, and how they count."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from record_factories import complete, failed, pruned, records, trial, waiting

from search.evaluation import EndReason
from search.storage.open_storage import open_storage
from search.storage.retry import (
    count_begun,
    count_trials,
    fail_abandoned_trials,
    retry_stale_trial,
    retry_trial,
    without_retried,
)
from search.storage.trial_record import Refinement, read_trials, record_worker

RUNNING, FAIL, WAITING = TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"))


def test_a_trial_cut_off_while_it_was_choosing_is_retried_with_all_that_it_was_enqueued_with(
    study: optuna.Study,
) -> None:
    study.enqueue_trial({"a": 0.25, "b": 0.75})
    study.ask().suggest_float("a", 0, 1)  # and Ctrl-C
    assert retry_trial(study, 0, once=True)
    again = study.ask()
    assert (again.suggest_float("a", 0, 1), again.suggest_float("b", 0, 1)) == (0.25, 0.75)
    assert not retry_trial(study, again.number, once=True)
    assert retry_trial(study, again.number, once=False)


def test_a_retry_keeps_what_a_sampler_has_chosen(study: optuna.Study) -> None:
    chosen = study.ask().suggest_float("a", 0, 1)
    assert retry_trial(study, 0, once=False)
    assert read_trials(study)[1].enqueued == {"a": chosen}


@pytest.mark.parametrize(("once", "retry_of"), [(True, 0), (False, None)])
def test_a_retry_is_the_same_final_training(study: optuna.Study, once: bool, retry_of: int | None) -> None:
    refinement = Refinement(7, "float16")
    study.add_trial(waiting(refinement=refinement))
    assert retry_trial(study, 0, once=once)
    again = read_trials(study)[1]
    assert (again.refinement, again.retry_of, again.retried) == (refinement, retry_of, False)


def test_a_retry_that_does_not_count_remembers_an_earlier_one(study: optuna.Study) -> None:
    study.add_trial(waiting(retry_of=3))
    assert retry_trial(study, 0, once=False)
    assert read_trials(study)[1].retry_of == 3
    assert not retry_trial(study, 1, once=True)


def test_a_stale_trial_is_retried_once(study: optuna.Study) -> None:
    study.add_trial(trial(FAIL))
    retry_stale_trial(study, study.trials[0])
    second = study.ask()
    retry_stale_trial(study, study.trials[second.number])
    assert len(study.trials) == 2


def test_the_trials_of_one_worker_are_abandoned_and_not_those_of_a_longer_name(study: optuna.Study) -> None:
    for worker in ("pi:8", "pi:80", None):
        running = study.ask()
        if worker is not None:
            record_worker(running, worker)
    fail_abandoned_trials(study, lambda worker: worker == "pi:8")
    found = read_trials(study)
    assert [record.state for record in found] == [FAIL, RUNNING, RUNNING, WAITING]
    assert (found[0].end_reason, found[0].retried) == (EndReason.INTERRUPTED, True)
    assert (found[3].retry_of, found[3].refinement) == (0, None)


def test_a_trial_that_is_abandoned_twice_is_not_retried_again(study: optuna.Study) -> None:
    for _ in range(2):
        study.ask()
        fail_abandoned_trials(study, lambda worker: worker is None)
    first, second = read_trials(study)
    assert (first.retried, second.retried, second.retry_of) == (True, False, 0)
    assert second.end_reason is EndReason.INTERRUPTED


def test_a_retry_does_not_count_beside_its_first_try() -> None:
    known = records(
        complete(1.0),
        failed(EndReason.INVALID_MEASUREMENT, retried=True),
        failed(EndReason.INVALID_MEASUREMENT, retry_of=1),
        failed(EndReason.TEST_BENCH_UNAVAILABLE, retried=True),  # its retry does not know it
        waiting(),
        trial(RUNNING),
        trial(FAIL),  # silent for too long: Optuna writes nothing into it
        trial(RUNNING, retry_of=6),
        pruned(EndReason.MAC_BOUND, refinement=Refinement(0)),
    )
    assert [record.number for record in without_retried(known)] == [0, 2, 4, 5, 7, 8]
    assert count_trials(known) == 4  # 0, 2, 5 and 7: neither what waits nor a final training
    assert count_begun(known) == 8


def test_a_trial_that_still_runs_counts_though_it_was_retried() -> None:
    """Its worker fell silent, and another one enqueued it once more before the first was failed."""
    known = records(trial(RUNNING), waiting(retry_of=0))
    assert [record.number for record in without_retried(known)] == [0, 1]
    assert count_trials(known) == 1
