"""Trials that are tried again: after a kill, a silent worker, a device that was gone."""

import warnings
from collections.abc import Callable, Iterable

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.adapters.optuna_trials import enqueue, fail_trial, running_trials
from search.evaluation import EndReason
from search.storage.trial_record import TrialRecord, failure_attributes, read_trial, retry_attributes


def retry_trial(study: optuna.Study, number: int, *, once: bool) -> bool:
    """Enqueue the candidate of a trial once more; return False where it was retried before.

    `once` is for what the candidate itself may have caused: its retry is not retried again. A trial that was cut off
    while it chose its parameters keeps those that it was enqueued with.
    """
    record = read_trial(study.get_trials(deepcopy=False)[number])
    if once and record.retry_of is not None:
        return False
    enqueue(study, record.enqueued, retry_attributes(record, counts=once))
    return True


def retry_stale_trial(study: optuna.Study, trial: FrozenTrial) -> None:
    """Enqueue what a worker did when it fell silent. Optuna has failed the trial."""
    retry_trial(study, trial.number, once=True)


def fail_stale_trials(study: optuna.Study) -> None:
    """Fail the trials of silent workers now; Optuna does so only before it chooses a new one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # called experimental since Optuna 2.9
        optuna.storages.fail_stale_trials(study)


def fail_abandoned_trials(study: optuna.Study, is_abandoned: Callable[[str | None], bool]) -> None:
    """Fail the running trials of these workers, and enqueue each once more.

    `is_abandoned` gets the worker of a trial, None for one that had not yet written its name. Where another worker
    fails the same trial at the same time, nothing more is done.
    """
    for trial in running_trials(study):
        if is_abandoned(read_trial(trial).worker):
            retried = retry_trial(study, trial.number, once=True)
            fail_trial(study, trial.number, failure_attributes(EndReason.INTERRUPTED, retried=retried))


def without_retried(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the trials except those that have ended and were enqueued once more."""
    known = list(records)
    again = {record.retry_of for record in known}
    left = []
    for record in known:
        was_retried = record.retried or record.number in again
        if not (was_retried and record.state.is_finished()):
            left.append(record)
    return left


def count_trials(records: Iterable[TrialRecord]) -> int:
    """Return how many trials of the search have ended or run; a retry does not count beside its first try."""
    return sum(
        record.state is not TrialState.WAITING and not record.is_refinement for record in without_retried(records)
    )


def count_begun(records: Iterable[TrialRecord]) -> int:
    """Return how many trials have ended or run, the final training included."""
    return sum(record.state is not TrialState.WAITING for record in records)
