"""Trial after trial, and what becomes of each: whose fault it was, and what is asked for again."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from compress.errors import CandidateError
from edge.errors import EdgeError, InvalidMeasurementError, ModelError, UnavailableError
from search.config import StudyConfig
from search.progress import Progress
from search.runner.interrupts import Interrupts
from search.storage.open import outages, storage_url
from search.storage.study_state import ASKED_AGAIN, INTERRUPTED, WORKER, ask_again, best_value, give_up_stale, reclaim
from search.strategy.early_stopping import is_better

FAILURES_IN_A_ROW = 3
"""After so many failures of the rig, one after the other, the study stops with the first reason."""
RIG_PAUSE_S = 10.0
"""After the first of them; twice as long after the second: a meter is plugged in again, a Pi restarts."""
OUTAGE_S = 600.0
"""So long a worker waits for a storage that is gone."""
WATCH_S = 5.0
"""How often a worker with nothing left to do looks whether the others' trials have come to an end."""
UNITS = {"latency": "ms", "energy": "mJ", "fom": "FoM"}


@dataclass(frozen=True)
class Shift:
    """A worker's time at a study."""

    config: StudyConfig
    progress: Progress
    deadline_s: float  # time.monotonic() at which the budget ends
    parent: int | None  # the process for which this one works

    def orphaned(self) -> bool:
        """Whether the process that this one works for is gone."""
        return self.parent is not None and os.getppid() != self.parent

    @cached_property
    def worker(self) -> str:
        """This process among all that work on the study."""
        return f"{platform.node()}:{os.getpid()}"


AnyShift = TypeVar("AnyShift", bound=Shift)


def optimize(
    study: optuna.Study,
    shift: AnyShift,
    run_one: Callable[[optuna.Trial, AnyShift], float],
    left: Callable[[], int],
    propose_next: Callable[[], object] = lambda: None,
    sleep: Callable[[float], object] = time.sleep,
    *,
    stay: bool = False,
) -> None:
    """Run trials while `left()` says that there are some and the shift's deadline is not past.

    Calls `propose_next()` before each, and `run_one(trial, shift)` for it. A fault costs its trial; what the rig or
    the machine is to blame for is asked for again. A storage that is gone for a while costs the running trial. With
    nothing left, `stay` means to wait until the other workers' trials have ended: one of them may die. Raises RigError
    after FAILURES_IN_A_ROW of the rig, and what is no fault of a trial.
    """
    broken: list[UnavailableError] = []
    interrupts = Interrupts()

    def one(trial: optuna.Trial) -> float:
        started = time.monotonic()
        trial.set_user_attr(WORKER, shift.worker)
        try:
            with interrupts.let_through():
                value = run_one(trial, shift)
        except UnavailableError as error:
            broken.append(error)
            trial.set_user_attr(ASKED_AGAIN, ask_again(study, trial.number, once=False))
            note(trial, shift, "FAIL", str(error))
            if len(broken) >= FAILURES_IN_A_ROW:
                reason = f"the rig failed {len(broken)} times in a row; first: {broken[0]}"
                raise RigError(reason) from broken[0]
            shift.progress.phase("waiting for the rig")
            with interrupts.let_through():
                sleep(RIG_PAUSE_S * len(broken))
            raise
        except optuna.TrialPruned as pruned:
            broken.clear()
            note(trial, shift, "pruned", str(pruned))
            raise
        except InvalidMeasurementError as error:  # the machine's fault and not the candidate's
            broken.clear()
            if ask_again(study, trial.number, once=True):
                trial.set_user_attr(ASKED_AGAIN, True)
            note(trial, shift, "FAIL", str(error))
            raise
        except (CandidateError, ModelError) as error:
            broken.clear()
            note(trial, shift, "FAIL", str(error))
            raise
        except gone:
            raise
        except KeyboardInterrupt:
            trial.set_user_attr(ASKED_AGAIN, ask_again(study, trial.number, once=False))
            trial.set_user_attr("reason", INTERRUPTED)
            raise
        except Exception as error:
            trial.set_user_attr("reason", f"{type(error).__name__}: {error}")
            raise
        broken.clear()
        took = f"{value:.4g} {UNITS[shift.config.road]} in {time.monotonic() - started:.0f} s"
        note(trial, shift, "done", took, value)
        return value

    caught = (CandidateError, ModelError, InvalidMeasurementError, UnavailableError)
    gone = outages(storage_url(shift.config))
    with interrupts:
        while shift.deadline_s > time.monotonic() and not shift.orphaned():
            try:
                if left() > 0:
                    propose_next()
                    study.optimize(one, n_trials=1, catch=caught)
                elif stay and _others_at_work(study):
                    shift.progress.phase("waiting for the other workers")
                    with interrupts.let_through():
                        sleep(WATCH_S)
                    give_up_stale(study)
                else:
                    return
            except Exception as error:
                if _is_given_up(error):
                    shift.progress.line("a trial was given up by another worker: this one had been silent too long")
                elif any(isinstance(each, gone) for each in _chain(error)):
                    shift.progress.line(f"the storage is gone ({' '.join(str(error).split())[:120]}); waiting for it")
                    with interrupts.let_through():
                        _return_to(study, shift, gone, sleep)
                else:
                    raise


def _is_given_up(error: Exception) -> bool:
    """Whether another worker has ended the trial meanwhile: Optuna tells who writes, or else who tells."""
    return any(isinstance(e, UpdateFinishedTrialError) or str(e).startswith("Cannot tell a ") for e in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those while which it was raised: in its own error handling Optuna trips over more."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _others_at_work(study: optuna.Study) -> bool:
    return bool(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)))


def _return_to(
    study: optuna.Study, shift: Shift, gone: tuple[type[Exception], ...], sleep: Callable[[float], object]
) -> None:
    """Ask the storage until it answers, and give up the trial that this worker was at; its error after OUTAGE_S."""
    until_s = time.monotonic() + OUTAGE_S
    while True:
        try:
            reclaim(study, lambda worker: worker == shift.worker)
            return
        except gone:
            if time.monotonic() > until_s:
                raise
            sleep(2.0)


class RigError(EdgeError):
    """Device or meter failed several times in a row; the message has the first reason."""


def note(trial: optuna.Trial, shift: Shift, word: str, reason: str, value: float | None = None) -> None:
    """One line of the log, and the reason where there is no value."""
    if value is None:
        trial.set_user_attr("reason", reason)
    about = trial.user_attrs.get("candidate")
    accuracy = f"{about['accuracy_percent']:.2f} % validation, " if about else ""
    misses = value is not None and trial.user_attrs["shortfall"] > 0
    said = " (misses the rule)" if misses and shift.config.grid is None else ""  # a grid chooses nothing
    shift.progress.line(f"trial {trial.number:3d}  {word:6s}  {accuracy}{reason}{said}")
    if value is not None and not misses:
        best = best_value(trial.study)
        if best is None or is_better(shift.config.road, value, best):
            shift.progress.best(f"{value:.4g} {UNITS[shift.config.road]}")
