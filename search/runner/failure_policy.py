"""What becomes of a trial that ends without a value: one table, and the one place that applies it.

| what happens                       | whose fault    | trial   | then                                        |
|------------------------------------|----------------|---------|---------------------------------------------|
| Rejected                           | the candidate  | PRUNED  | continue                                    |
| CandidateError, ModelError         | the candidate  | FAIL    | continue                                    |
| InvalidMeasurementError            | the measurement| FAIL    | enqueue once more, continue                 |
| UnavailableError                   | the test bench | FAIL    | enqueue again, wait; stop after three in a row |
| KeyboardInterrupt                  | nobody         | FAIL    | enqueue again, stop                         |
| any other exception                | thrones        | FAIL    | stop with a traceback                       |

A storage that is gone is no fault of the trial: `search.runner.loop` waits for it.

What fails is repeated on four layers, each within the next: `MeasurePlan.attempts` (a measurement), `edge.devices.pool`
(another device of the pool), `edge.remote.connection` (a lost connection), and this table (the whole trial).
"""

from dataclasses import dataclass
from enum import Enum

import optuna

from compress.errors import CandidateError
from edge.errors import EdgeError, InvalidMeasurementError, ModelError, UnavailableError
from search.evaluation import EndReason, Rejected
from search.storage.retry import retry_trial
from search.storage.trial_record import record_failure, record_rejection

MAX_FAILURES_IN_A_ROW = 3
"""The study stops with the first reason after the test bench has failed this many times in a row."""


class Retry(Enum):
    """Whether the candidate of a failed trial is enqueued again."""

    NEVER = "never"
    ONCE = "once"
    ALWAYS = "always"


@dataclass(frozen=True)
class Policy:
    """How a trial ends. `stops`: the worker ends, too."""

    end_reason: EndReason
    retry: Retry = Retry.NEVER
    blames_test_bench: bool = False
    stops: bool = False


FAILURE_POLICY: dict[type[BaseException], Policy] = {
    CandidateError: Policy(EndReason.CANDIDATE_FAILED),
    ModelError: Policy(EndReason.UNSUPPORTED_MODEL),
    InvalidMeasurementError: Policy(EndReason.INVALID_MEASUREMENT, Retry.ONCE),
    UnavailableError: Policy(EndReason.TEST_BENCH_UNAVAILABLE, Retry.ALWAYS, blames_test_bench=True),
    KeyboardInterrupt: Policy(EndReason.INTERRUPTED, Retry.ALWAYS, stops=True),
    Exception: Policy(EndReason.INTERNAL_ERROR, stops=True),
}
SURVIVED = tuple(
    kind for kind, policy in FAILURE_POLICY.items() if not policy.stops and issubclass(kind, Exception)
)
"""The errors after which a worker continues with the next trial."""


def policy_of(error: BaseException) -> Policy | None:
    """Return the first policy of the table that fits; None for what ends the process, as SystemExit does."""
    return next((policy for kind, policy in FAILURE_POLICY.items() if isinstance(error, kind)), None)


def record_end(study: optuna.Study, trial: optuna.Trial, error: BaseException) -> Policy | None:
    """Write why a trial ended without a value, and enqueue its candidate again where the table says so.

    Returns the policy that was applied; None for a rejection and for what ends the process.
    """
    if isinstance(error, Rejected):
        record_rejection(trial, error.rejection)
        return None
    policy = policy_of(error)
    if policy is None:
        return None
    retried = False
    if policy.retry is not Retry.NEVER:
        retried = retry_trial(study, trial.number, once=policy.retry is Retry.ONCE)
    message = str(error)
    if policy.end_reason is EndReason.INTERRUPTED:
        message = "interrupted"
    if policy.end_reason is EndReason.INTERNAL_ERROR:
        message = f"{type(error).__name__}: {error}"
    record_failure(trial, policy.end_reason, message, retried=retried)
    return policy


class TestBenchError(EdgeError):
    """Device or meter failed several times in a row; the message has the first reason."""


class TestBenchFailures:
    """The failures of the test bench since it last worked."""

    def __init__(self) -> None:
        self._in_a_row: list[BaseException] = []

    def reset(self) -> None:
        """Forget them: the test bench has worked."""
        self._in_a_row.clear()

    def add(self, error: BaseException) -> int:
        """Count one more; return how many there are. Raises TestBenchError when they are too many."""
        self._in_a_row.append(error)
        count = len(self._in_a_row)
        if count >= MAX_FAILURES_IN_A_ROW:
            first = self._in_a_row[0]
            raise TestBenchError(f"the test bench failed {count} times in a row; first: {first}") from first
        return count
