"""What becomes of a trial that ends without a value: every row of the policy's table, on a real database."""

import re
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import optuna
import pytest
from optuna.trial import TrialState
from workers import work, worker

from compress.errors import CandidateError
from edge.errors import EdgeError, InvalidMeasurementError, ModelError, UnavailableError
from search.evaluation import EndReason, Rejected, Rejection
from search.runner import failure_policy
from search.runner.failure_policy import (
    MAX_FAILURES_IN_A_ROW,
    SURVIVED,
    Retry,
    policy_of,
    record_end,
)
from search.runner.loop import TEST_BENCH_PAUSE_S
from search.storage.open_storage import open_storage
from search.storage.trial_record import TrialRecord, read_trials

PARAMS = {"epochs": 4}


class Row(NamedTuple):
    """A row of the table: what happens, and what is then true of the trial and of its worker."""

    name: str
    error: BaseException
    state: TrialState
    end_reason: EndReason
    message: str
    retry: Retry = Retry.NEVER
    blames_test_bench: bool = False
    stops: bool = False


REJECTION = Rejection(EndReason.OUT_OF_REACH, "out of reach: 20 %", predicted_violation=2.5)
FAIL = TrialState.FAIL
ROWS = (
    Row("Rejected", Rejected(REJECTION), TrialState.PRUNED, EndReason.OUT_OF_REACH, REJECTION.message),
    Row("CandidateError, ModelError", CandidateError("no"), FAIL, EndReason.CANDIDATE_FAILED, "no"),
    Row("CandidateError, ModelError", ModelError("crashed"), FAIL, EndReason.UNSUPPORTED_MODEL, "crashed"),
    Row(
        "InvalidMeasurementError",
        InvalidMeasurementError("unsteady", remedy="wait"),
        FAIL,
        EndReason.INVALID_MEASUREMENT,
        "unsteady; wait",
        Retry.ONCE,
    ),
    Row(
        "UnavailableError",
        UnavailableError("no reading"),
        FAIL,
        EndReason.TEST_BENCH_UNAVAILABLE,
        "no reading",
        Retry.ALWAYS,
        blames_test_bench=True,
    ),
    Row(
        "KeyboardInterrupt",
        KeyboardInterrupt(),
        FAIL,
        EndReason.INTERRUPTED,
        "interrupted",
        Retry.ALWAYS,
        stops=True,
    ),
    Row(
        "any other exception",
        ZeroDivisionError("division by zero"),
        FAIL,
        EndReason.INTERNAL_ERROR,
        "ZeroDivisionError: division by zero",
        stops=True,
    ),
)
BY_ERROR = pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row.error).__name__)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"))


def documented_rows() -> dict[str, tuple[str, str]]:
    """Return state and consequence of each row in the docstring, by what happens."""
    assert failure_policy.__doc__ is not None
    found = re.findall(r"^\|(.*)\|(.*)\|(.*)\|(.*)\|$", failure_policy.__doc__, re.MULTILINE)
    cells = [[cell.strip() for cell in row] for row in found[2:]]
    return {name: (state, then) for name, _, state, then in cells}


def raising(*errors: BaseException | None) -> Callable[[optuna.Trial], float]:
    """Return what runs a trial after the other: it raises these errors, None: no error; then none any more."""
    left = iter(errors)

    def run_one(trial: optuna.Trial) -> float:
        error = next(left, None)
        if error is not None:
            raise error
        return 1.0

    return run_one


def waiting_in(study: optuna.Study) -> int:
    return len(study.get_trials(states=(TrialState.WAITING,)))


def run(study: optuna.Study, row: Row) -> list[TrialRecord]:
    """Have the first of two waiting trials end with the row's error, and a worker continue if it does."""
    study.enqueue_trial(PARAMS)
    study.enqueue_trial({"epochs": 5})
    if row.stops:
        with pytest.raises(type(row.error)):
            work(study, raising(row.error), lambda: waiting_in(study))
    else:
        work(study, raising(row.error), lambda: waiting_in(study))
    return read_trials(study)


def test_the_table_of_the_docstring_has_these_rows() -> None:
    assert set(documented_rows()) == {row.name for row in ROWS}


@BY_ERROR
def test_the_trial_has_the_state_and_the_reason_of_its_row(study: optuna.Study, row: Row) -> None:
    first = run(study, row)[0]
    assert (first.state, first.end_reason, first.message) == (row.state, row.end_reason, row.message)
    assert documented_rows()[row.name][0] == row.state.name
    assert first.predicted_violation == (2.5 if row.name == "Rejected" else None)
    assert first.value is None


@BY_ERROR
def test_its_candidate_is_enqueued_again_where_it_is_not_to_blame(study: optuna.Study, row: Row) -> None:
    first, _, *retries = run(study, row)
    is_retried = row.retry is not Retry.NEVER
    assert first.retried is is_retried
    if is_retried:
        (retry,) = retries
        assert retry.enqueued == PARAMS
        assert retry.retry_of == (0 if row.retry is Retry.ONCE else None)
    else:
        assert retries == []
    assert ("enqueue" in documented_rows()[row.name][1]) is is_retried


@pytest.mark.slow
@BY_ERROR
def test_the_worker_continues_or_stops(study: optuna.Study, row: Row) -> None:
    _, other, *retries = run(study, row)
    expected = TrialState.WAITING if row.stops else TrialState.COMPLETE
    assert {record.state for record in (other, *retries)} == {expected}
    then = documented_rows()[row.name][1]
    assert any(word in then for word in ("go on", "continue", "wait")) is not row.stops
    assert isinstance(row.error, (*SURVIVED, Rejected)) is not row.stops


@BY_ERROR
def test_only_the_test_bench_is_waited_for(study: optuna.Study, row: Row) -> None:
    study.enqueue_trial(PARAMS)
    pauses: list[float] = []
    with suppress(type(row.error)):
        work(study, raising(row.error), lambda: waiting_in(study), sleep=pauses.append)
    assert pauses == ([TEST_BENCH_PAUSE_S] if row.blames_test_bench else [])
    policy = policy_of(row.error)
    assert row.name == "Rejected" or (policy is not None and policy.blames_test_bench is row.blames_test_bench)


def test_a_measurement_that_cannot_be_trusted_is_repeated_once(study: optuna.Study) -> None:
    study.enqueue_trial(PARAMS)
    work(study, raising(*[InvalidMeasurementError("unsteady")] * 9), lambda: waiting_in(study))
    first, second = read_trials(study)
    assert (first.retried, first.retry_of) == (True, None)
    assert (second.retried, second.retry_of) == (False, 0)
    assert first.enqueued == second.enqueued == PARAMS


def test_a_test_bench_that_stays_away_stops_the_worker_with_the_first_reason(study: optuna.Study) -> None:
    study.enqueue_trial(PARAMS)
    pauses: list[float] = []
    words = "the test bench failed 3 times in a row; first: no reading for 1 s"
    errors = [UnavailableError(f"no reading for {number} s") for number in (1, 2, 3)]
    with pytest.raises(failure_policy.TestBenchError, match=words) as caught:
        work(study, raising(*errors), lambda: waiting_in(study), sleep=pauses.append)
    assert isinstance(caught.value, EdgeError) and caught.value.__cause__ is errors[0]
    assert pauses == [TEST_BENCH_PAUSE_S, 2 * TEST_BENCH_PAUSE_S]
    *lost, last = read_trials(study)
    assert [(record.state, record.retried, record.message) for record in lost] == [
        (TrialState.FAIL, True, str(error)) for error in errors
    ]
    assert (last.state, last.enqueued, last.retry_of) == (TrialState.WAITING, PARAMS, None)  # nothing is lost


@pytest.mark.parametrize(
    "between",
    [None, Rejected(REJECTION), CandidateError("no"), InvalidMeasurementError("unsteady")],
    ids=lambda error: type(error).__name__,
)
def test_a_test_bench_that_worked_in_between_has_not_failed_in_a_row(
    study: optuna.Study, between: Exception | None
) -> None:
    for _ in range(3):
        study.enqueue_trial(PARAMS)
    failures = [UnavailableError("gone")] * (MAX_FAILURES_IN_A_ROW - 1)
    work(study, raising(*failures, between, *failures), lambda: waiting_in(study))
    blamed = [record for record in read_trials(study) if record.end_reason is EndReason.TEST_BENCH_UNAVAILABLE]
    assert len(blamed) == 2 * len(failures)


def test_what_ends_the_process_is_no_end_of_a_trial(study: optuna.Study) -> None:
    trial = study.ask()
    assert policy_of(SystemExit()) is None
    assert record_end(study, trial, SystemExit()) is None
    (record,) = read_trials(study)
    assert (record.state, record.end_reason, record.retried) == (TrialState.RUNNING, None, False)


@pytest.mark.slow
def test_a_failed_trial_is_a_line_of_the_log(study: optuna.Study) -> None:
    study.enqueue_trial(PARAMS)
    study.enqueue_trial(PARAMS)
    shown = StringIO()
    work(
        study,
        raising(CandidateError("no operator"), Rejected(REJECTION)),
        lambda: waiting_in(study),
        worker(shown=shown),
    )
    assert shown.getvalue().splitlines() == ["trial   0  FAIL    no operator", "trial   1  pruned  out of reach: 20 %"]
