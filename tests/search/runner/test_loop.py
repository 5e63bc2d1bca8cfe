"""Workers that lose their trial, their parent, or the storage: on a real database, with nothing trained."""

import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from record_factories import evaluation
from workers import work, worker

from search.adapters.optuna_trials import fail_trial
from search.config_sections import Grid
from search.evaluation import Accuracy
from search.runner import loop
from search.runner.loop import run_trials
from search.storage.open_storage import open_storage
from search.storage.trial_history import TrialHistory
from search.storage.trial_record import read_trials, record_evaluation

HALF = Accuracy(50.0, 50.0, 50.0)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"))


@pytest.mark.parametrize("writes", [True, False])
def test_a_trial_that_another_worker_ends_costs_that_trial(study: optuna.Study, writes: bool) -> None:
    shown = StringIO()

    def run_one(trial: optuna.Trial) -> float:
        if trial.number == 0:  # this worker is silent for too long, and another one says so
            fail_trial(study, trial.number, {})
            if writes:
                trial.set_user_attr("late", True)
        return 1.0

    work(study, run_one, lambda: 3 - len(study.trials), worker(shown=shown))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert shown.getvalue().count("another worker ended a trial of this one") == 1


def test_a_fault_of_ours_is_not_taken_for_a_trial_that_was_ended_elsewhere(study: optuna.Study) -> None:
    def run_one(trial: optuna.Trial) -> float:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        work(study, run_one, lambda: 1)
    assert len(study.trials) == 1


def test_each_trial_says_who_runs_it(study: optuna.Study) -> None:
    context = worker()
    work(study, lambda trial: 1.0, lambda: 2 - len(study.trials), context)
    assert [record.worker for record in read_trials(study)] == [context.worker] * 2


def test_no_trial_begins_after_the_deadline_or_for_an_orphan(study: optuna.Study) -> None:
    for context, deadline_s in ((worker(), time.monotonic() - 1), (worker(parent_pid=-1), time.monotonic() + 60)):
        run_trials(study, context, TrialHistory(study), lambda trial: 1.0, deadline_s=deadline_s, left=lambda: 1)
    assert study.trials == []


def test_a_worker_without_work_waits_while_others_run_trials(study: optuna.Study) -> None:
    other = study.ask()
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            study.tell(other, 1.0)

    run_trials(
        study,
        worker(),
        TrialHistory(study),
        lambda trial: pytest.fail("none is left"),
        deadline_s=time.monotonic() + 60,
        left=lambda: 0,
        sleep=sleep,
        wait_for_others=True,
    )
    assert pauses == [loop.WATCH_S] * 2


class Outage:
    """A database that is gone from the moment that a trial begins, until somebody has waited twice."""

    def __init__(self, study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_gone = False
        self.pauses: list[float] = []
        for name in ("get_all_trials", "set_trial_state_values", "set_trial_user_attr"):
            monkeypatch.setattr(study._storage, name, self._cut_off(getattr(study._storage, name)))

    def _cut_off(self, call: Callable[..., object]) -> Callable[..., object]:
        def call_or_fail(*arguments: object, **options: object) -> object:
            if self.is_gone:
                raise StorageInternalError("no\nserver answers")
            return call(*arguments, **options)

        return call_or_fail

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.is_gone = len(self.pauses) < 2


def test_a_storage_that_is_gone_for_a_while_costs_the_running_trial(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(study, monkeypatch)
    shown = StringIO()

    def run_one(trial: optuna.Trial) -> float:
        if trial.number == 0:
            outage.is_gone = True
            trial.set_user_attr("late", True)
        return 1.0

    context = worker(shown=shown, storage="postgresql://team@db/thrones")
    work(study, run_one, lambda: 3 - len(study.trials), context, outage.sleep)
    assert "the storage is gone (no server answers); waiting for it" in shown.getvalue()
    lost, again, other = read_trials(study)
    assert (lost.state, lost.retried) == (TrialState.FAIL, True)
    assert (again.state, again.retry_of) == (TrialState.COMPLETE, 0)
    assert other.state is TrialState.COMPLETE
    assert outage.pauses == [2.0, 2.0]


def test_a_storage_that_stays_away_ends_the_worker_with_its_own_error(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(study, monkeypatch)
    monkeypatch.setattr(loop, "MAX_OUTAGE_S", 0.0)

    def run_one(trial: optuna.Trial) -> float:
        outage.is_gone = True
        trial.set_user_attr("late", True)
        return 1.0

    with pytest.raises(StorageInternalError, match="server answers"):
        work(study, run_one, lambda: 1, worker(storage="postgresql://team@db/thrones"), outage.sleep)


def test_the_fault_of_a_file_does_not_pass(study: optuna.Study) -> None:
    def run_one(trial: optuna.Trial) -> float:
        raise StorageInternalError("disk I/O error")

    with pytest.raises(StorageInternalError, match="disk I/O error"):
        work(study, run_one, lambda: 1, sleep=lambda seconds: pytest.fail("it waits"))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (None, "50.00 % validation, 1 ms in 0 s (misses the accuracy constraint)"),
        (Grid(pruning_ratio=[0.5], epochs=[0]), "50.00 % validation, 1 ms in 0 s"),
    ],
)
def test_a_grid_s_row_misses_no_constraint_since_nothing_is_chosen(
    study: optuna.Study, grid: Grid | None, words: str
) -> None:
    shown = StringIO()

    def run_one(trial: optuna.Trial) -> float:
        record_evaluation(trial, evaluation(1.0, accuracy=HALF, constraint_violation=20.0), {}, "")
        return 1.0

    work(study, run_one, lambda: 1 - len(study.trials), worker(shown=shown, grid=grid))
    assert shown.getvalue().strip() == f"trial   0  done    {words}"


def test_the_best_so_far_is_one_that_meets_the_constraint(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = worker()
    best: list[str] = []
    monkeypatch.setattr(context.progress, "best", best.append)
    found = iter([(1.0, 0.5), (3.0, -1.0), (4.0, -1.0), (2.0, 0.0)])

    def run_one(trial: optuna.Trial) -> float:
        value, violation = next(found)
        record_evaluation(trial, evaluation(value, constraint_violation=violation), {}, "")
        return value

    work(study, run_one, lambda: 4 - len(study.trials), context)
    assert best == ["3 ms", "2 ms"]
