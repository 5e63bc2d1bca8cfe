"""Trial after trial, until the budget ends."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import optuna

from search.adapters.optuna_rdb import is_in_transaction
from search.adapters.optuna_trials import running_trials, was_ended_elsewhere
from search.candidate.worker_context import WorkerContext
from search.evaluation import Rejected
from search.objective import Objective
from search.runner.failure_policy import SURVIVED, TestBenchFailures, record_end
from search.runner.interrupts import Interrupts
from search.storage.open_storage import connection_errors
from search.storage.retry import fail_abandoned_trials, fail_stale_trials
from search.storage.trial_history import TrialHistory
from search.storage.trial_record import TrialRecord, record_worker
from search.storage.urls import storage_url
from search.strategy.ranking import best_value

TEST_BENCH_PAUSE_S = 10.0
"""The pause after the first failure of the test bench, twice as long after the second: someone plugs a meter in again,
a Pi restarts."""
MAX_OUTAGE_S = 600.0
"""How long a worker waits for a storage that is gone."""
WATCH_S = 5.0
"""How often a worker without work looks whether the others' trials have ended."""
RunOne = Callable[[optuna.Trial], float]


def run_trials(
    study: optuna.Study,
    context: WorkerContext,
    history: TrialHistory,
    run_one: RunOne,
    *,
    deadline_s: float,
    left: Callable[[], int],
    propose_next: Callable[[], object] = lambda: None,
    sleep: Callable[[float], object] = time.sleep,
    wait_for_others: bool = False,
) -> None:
    """Run trials while some are left and the deadline has not passed.

    A failing trial ends as `search.runner.failure_policy` says. A storage that is gone for a while costs the running
    trial at most.

    Args:
        study: The study.
        context: The worker.
        history: The trials of the study.
        run_one: Runs one trial and returns its value. Raises Rejected for a candidate that it gives up.
        deadline_s: `time.monotonic()` when no further trial begins.
        left: Returns how many trials are left.
        propose_next: Called before each trial; it may enqueue a candidate.
        sleep: Waits for some seconds.
        wait_for_others: When no trial is left, wait while other workers run trials: one of them may have to be retried.

    Raises:
        TestBenchError: The test bench failed several times in a row.
    """
    interrupts = Interrupts(partial(is_in_transaction, study))
    failures = TestBenchFailures()
    connection_lost = connection_errors(storage_url(context.config))

    def run_and_record(trial: optuna.Trial) -> float:
        began_s = time.monotonic()
        record_worker(trial, context.worker)
        try:
            with interrupts.let_through():
                value = run_one(trial)
        except connection_lost:
            raise
        except BaseException as error:
            policy = record_end(study, trial, error)
            _log_end(context, trial.number, error)
            if isinstance(error, Rejected):
                failures.reset()
                raise optuna.TrialPruned(str(error)) from error
            if policy is not None and policy.blames_test_bench:
                count = failures.add(error)
                context.progress.phase("waiting for the test bench")
                with interrupts.let_through():
                    sleep(TEST_BENCH_PAUSE_S * count)
            else:
                failures.reset()
            raise
        failures.reset()
        _log_value(context, history.records(), trial, value, time.monotonic() - began_s)
        return value

    with interrupts:
        while deadline_s > time.monotonic() and not context.is_orphaned():
            try:
                if left() > 0:
                    propose_next()
                    study.optimize(run_and_record, n_trials=1, catch=SURVIVED)
                elif wait_for_others and running_trials(study):
                    context.progress.phase("waiting for the other workers")
                    with interrupts.let_through():
                        sleep(WATCH_S)
                    fail_stale_trials(study)
                else:
                    return
            except Exception as error:
                lost = next((each for each in _chain(error) if isinstance(each, connection_lost)), None)
                if any(was_ended_elsewhere(each) for each in _chain(error)):
                    context.progress.line("another worker ended a trial of this one, which had been silent too long")
                elif lost is not None:
                    message = " ".join(str(lost).split())[:120]
                    context.progress.line(f"the storage is gone ({message}); waiting for it")
                    with interrupts.let_through():
                        _reconnect(study, context, connection_lost, sleep)
                else:
                    raise


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those during which it was raised: Optuna's own error handling raises further ones."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _reconnect(
    study: optuna.Study,
    context: WorkerContext,
    connection_lost: tuple[type[Exception], ...],
    sleep: Callable[[float], object],
) -> None:
    """Ask the storage until it answers, then fail the trial that this worker ran; raise its error after MAX_OUTAGE_S.

    Args:
        study: The study.
        context: The worker.
        connection_lost: The errors of a storage that is gone.
        sleep: Waits for some seconds.
    """
    until_s = time.monotonic() + MAX_OUTAGE_S
    while True:
        try:
            fail_abandoned_trials(study, lambda worker: worker == context.worker)
            return
        except connection_lost:
            if time.monotonic() > until_s:
                raise
            sleep(2.0)


def _log_end(context: WorkerContext, number: int, error: BaseException) -> None:
    if isinstance(error, Rejected):
        context.progress.line(f"trial {number:3d}  pruned  {error}")
    elif isinstance(error, SURVIVED):
        context.progress.line(f"trial {number:3d}  FAIL    {error}")


def _log_value(
    context: WorkerContext, records: list[TrialRecord], trial: optuna.Trial, value: float, seconds: float
) -> None:
    """Write one line of the log for a trial with a value, and show the best so far.

    Args:
        context: The worker.
        records: The trials of the study.
        trial: The trial.
        value: Its value.
        seconds: How long it took.
    """
    objective: Objective = context.objective
    shown = f"{value:.4g} {objective.unit}"
    record = records[trial.number]
    accuracy = ""
    is_feasible = True
    if record.evaluation is not None:
        accuracy = f"{record.evaluation.accuracy.validation_percent:.2f} % validation, "
        is_feasible = record.evaluation.constraint_violation <= 0
    is_search = context.config.grid is None  # a grid chooses nothing
    verdict = " (misses the accuracy constraint)" if is_search and not is_feasible else ""
    context.progress.line(f"trial {trial.number:3d}  done    {accuracy}{shown} in {seconds:.0f} s{verdict}")
    if is_feasible:
        best = best_value(records, objective)
        if best is None or objective.is_better(value, best):
            context.progress.best(shown)
