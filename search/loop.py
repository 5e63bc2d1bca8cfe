"""Trial after trial, and what becomes of each: whose fault it was, and what is asked for again."""

import time
from collections.abc import Callable

import optuna

from compress.errors import CandidateError
from edge import EdgeError, InfeasibleError, InvalidMeasurementError, UnavailableError
from search.bench import Bench
from search.bounds import is_better
from search.interrupts import Interrupts
from search.storage import ASKED_AGAIN, INTERRUPTED, ask_again, best_value
from search.trial import run_trial

FAILURES_IN_A_ROW = 3
"""After so many failures of the rig, one after the other, the study stops with the first reason."""
RIG_PAUSE_S = 10.0
"""After the first of them; twice as long after the second: a meter is plugged in again, a Pi restarts."""
UNITS = {"latency": "ms", "energy": "mJ", "fom": "FoM"}


def optimize(
    study: optuna.Study,
    bench: Bench,
    left: Callable[[], int],
    propose_next: Callable[[], object] = lambda: None,
    run_one: Callable[[optuna.Trial, Bench], float] = run_trial,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Run trials while `left()` says that there are some and the bench's deadline is not past.

    Calls `propose_next()` before each, and `run_one(trial, bench)` for it. A fault costs its trial; what the rig or
    the machine is to blame for is asked for again. Raises RigError after FAILURES_IN_A_ROW of the rig, and what is no
    fault of a trial.
    """
    broken: list[UnavailableError] = []
    interrupts = Interrupts()

    def one(trial: optuna.Trial) -> float:
        started = time.monotonic()
        try:
            with interrupts.let_through():
                value = run_one(trial, bench)
        except UnavailableError as error:
            broken.append(error)
            trial.set_user_attr(ASKED_AGAIN, ask_again(study, trial.number, once=False))
            note(trial, bench, "FAIL", str(error))
            if len(broken) >= FAILURES_IN_A_ROW:
                reason = f"the rig failed {len(broken)} times in a row; first: {broken[0]}"
                raise RigError(reason) from broken[0]
            bench.progress.phase("waiting for the rig")
            with interrupts.let_through():
                sleep(RIG_PAUSE_S * len(broken))
            raise
        except optuna.TrialPruned as pruned:
            broken.clear()
            note(trial, bench, "pruned", str(pruned))
            raise
        except InvalidMeasurementError as error:  # the machine's fault and not the candidate's
            broken.clear()
            if ask_again(study, trial.number, once=True):
                trial.set_user_attr(ASKED_AGAIN, True)
            note(trial, bench, "FAIL", str(error))
            raise
        except (CandidateError, InfeasibleError) as error:
            broken.clear()
            note(trial, bench, "FAIL", str(error))
            raise
        except KeyboardInterrupt:
            trial.set_user_attr(ASKED_AGAIN, ask_again(study, trial.number, once=False))
            trial.set_user_attr("reason", INTERRUPTED)
            raise
        except Exception as error:
            trial.set_user_attr("reason", f"{type(error).__name__}: {error}")
            raise
        broken.clear()
        took = f"{value:.4g} {UNITS[bench.config.road]} in {time.monotonic() - started:.0f} s"
        note(trial, bench, "done", took, value)
        return value

    caught = (CandidateError, InfeasibleError, InvalidMeasurementError, UnavailableError)
    with interrupts:
        while left() > 0 and bench.deadline_s > time.monotonic():
            propose_next()
            study.optimize(one, n_trials=1, catch=caught)


class RigError(EdgeError):
    """Device or meter failed several times in a row; the message has the first reason."""


def note(trial: optuna.Trial, bench: Bench, word: str, reason: str, value: float | None = None) -> None:
    """One line of the log, and the reason where there is no value."""
    if value is None:
        trial.set_user_attr("reason", reason)
    about = trial.user_attrs.get("candidate")
    accuracy = f"{about['accuracy_percent']:.2f} % validation, " if about else ""
    kept = "" if value is None or trial.user_attrs["shortfall"] <= 0 else " (misses the rule)"
    bench.progress.line(f"trial {trial.number:3d}  {word:6s}  {accuracy}{reason}{kept}")
    if value is not None and not kept:
        best = best_value(trial.study)
        if best is None or is_better(bench.config.road, value, best):
            bench.progress.best(f"{value:.4g} {UNITS[bench.config.road]}")
