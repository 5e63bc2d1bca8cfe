"""Workers that lose their trial, their parent, a race or the storage: on a real database, with nothing trained."""

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import squares
from optuna.trial import TrialState
from rich.console import Console

from search.config import StudyConfig
from search.config_sections import FinalTraining, Grid
from search.progress import Progress
from search.runner.final_training import enqueue_finalist, finalists, finish, hopeless_formats, run_once
from search.runner.grid import run_row
from search.runner.lifecycle import begin_study
from search.runner.loop import Shift, note, optimize
from search.storage.study_state import (
    ASKED_AGAIN,
    FINALIST,
    FORMAT,
    OUT_OF_TIME,
    SECOND_TRY,
    WORKER,
    asked_params,
    reclaim,
)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db")


def shift_of(parent: int | None = None) -> Any:
    """A worker with a minute left; it stands in for a bench where no trial comes as far as to need one."""
    return Shift(StudyConfig(road="latency"), squares.silent(), time.monotonic() + 60, parent)


@pytest.mark.parametrize("writes", [True, False])
def test_a_trial_that_another_worker_gives_up_costs_that_trial(study: optuna.Study, writes: bool) -> None:
    def run_one(trial: optuna.Trial, shift: Shift) -> float:
        trial.set_user_attr("shortfall", 0.0)
        if trial.number == 0:  # this worker is silent for too long, and another one says so
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            if writes:
                trial.set_user_attr("late", True)
        return 1.0

    optimize(study, shift_of(), run_one, lambda: 3 - len(study.trials))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]


def test_a_fault_of_ours_is_not_taken_for_a_trial_that_was_given_up(study: optuna.Study) -> None:
    def run_one(trial: optuna.Trial, shift: Shift) -> float:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        optimize(study, shift_of(), run_one, lambda: 1)


def test_an_orphan_ends_before_the_finalists(study: optuna.Study) -> None:
    finish(study, shift_of(parent=-1), lambda: pytest.fail("it searches on"))


def test_a_worker_gives_up_its_own_trial_and_not_one_of_a_longer_name(study: optuna.Study) -> None:
    for worker in ("pi:8", "pi:80", None):
        trial = study.ask()
        if worker:
            trial.set_user_attr(WORKER, worker)
    reclaim(study, lambda worker: worker == "pi:8")
    states = [TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING, TrialState.WAITING]
    assert [trial.state for trial in study.trials] == states
    assert study.trials[3].user_attrs == {SECOND_TRY: 0}


def test_a_finalist_that_was_tried_again_counts_by_its_second_try(study: optuna.Study) -> None:
    for about in ({}, {FINALIST: 0, ASKED_AGAIN: True}, {FINALIST: 0, SECOND_TRY: 1}):
        state = TrialState.FAIL if ASKED_AGAIN in about else TrialState.WAITING
        study.add_trial(optuna.create_trial(state=state, user_attrs=about))
    assert [[trial.number for trial in tries] for tries in finalists(study).values()] == [[2]]


def test_where_none_is_promising_the_first_finalist_is_one_that_nearly_is(study: optuna.Study) -> None:
    def complete(value: float, constraint: float) -> None:
        about = {"constraint": constraint, "shortfall": 5.0}
        study.add_trial(optuna.create_trial(state=TrialState.COMPLETE, value=value, user_attrs=about))

    complete(1.0, 2.1)
    assert not enqueue_finalist(study)
    complete(2.0, 1.9)
    complete(3.0, 0.1)
    assert enqueue_finalist(study)
    assert study.trials[-1].user_attrs == {FINALIST: 2}
    assert not enqueue_finalist(study)  # before it is known what that one reaches


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (None, "50.00 % validation, 1 ms (misses the rule)"),
        (Grid(pruning_ratio=[0.5], epochs=[0]), "% validation, 1 ms"),
    ],
)
def test_a_grid_s_row_misses_no_rule_since_nothing_is_chosen(
    study: optuna.Study, grid: Grid | None, words: str
) -> None:
    seen, trial = io.StringIO(), study.ask()
    shift = Shift(StudyConfig(road="latency", grid=grid), Progress(Console(file=seen, width=200), 1), 0, None)
    trial.set_user_attr("candidate", {"accuracy_percent": 50.0})
    trial.set_user_attr("shortfall", 20.0)
    note(trial, shift, "done", "1 ms", 1.0)
    assert seen.getvalue().strip().endswith(words)


def finalist(
    value: float, quantization: str, state: TrialState, shortfall: float = 0.0, advantage: float = 1.0
) -> optuna.trial.FrozenTrial:
    """A finalist of trial 0, measured untrained; `advantage`: in turns with the best so far."""
    structure = {"best_case": value, "advantage": advantage}
    about = {FINALIST: 0, "spec": {"quantization": quantization}, "structure": structure}
    told = {"shortfall": shortfall, "constraint": shortfall} if state == TrialState.COMPLETE else {}
    kept = value if state == TrialState.COMPLETE else None
    return optuna.create_trial(state=state, value=kept, user_attrs={**about, **told})


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_format_that_was_far_behind_once_is_tried_for_no_other_finalist(direction: str) -> None:
    def worse(times: float) -> float:
        return times if direction == "minimize" else 1 / times

    study = optuna.create_study(direction=direction)
    study.add_trial(finalist(worse(1.0), "float32", TrialState.COMPLETE))
    for times, quantization in ((1.9, "float16"), (20.0, "int16x8"), (2.1, "int8")):
        study.add_trial(finalist(worse(times), quantization, TrialState.PRUNED, advantage=1 / times))
    disturbed = finalist(worse(2.5), "float32", TrialState.PRUNED, advantage=0.95)  # its one sample was, not the turns
    study.add_trial(disturbed)
    study.add_trial(finalist(worse(9.0), "dynamic", TrialState.COMPLETE, shortfall=1.0))  # it was trained, and measured
    study.add_trial(finalist(worse(0.5), "float32", TrialState.COMPLETE))  # float16 was not far behind at its time
    assert hopeless_formats(study) == {"int16x8", "int8"}


def test_the_formats_of_a_later_finalist_are_asked_for_without_those_that_are_hopeless(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"constraint": 0.0, "shortfall": 3.0}
    study.add_trial(optuna.create_trial(state=TrialState.COMPLETE, value=1.0, user_attrs=about))
    first = finalist(1.0, "float32", TrialState.COMPLETE)
    study.add_trial(first)
    study.add_trial(finalist(20.0, "int16x8", TrialState.PRUNED, advantage=0.05))
    later = finalist(0.9, "float32", TrialState.COMPLETE)
    study.add_trial(later)
    whole = {**later.user_attrs, FINALIST: 3, "candidate": {"accuracy_percent": 70.0}}
    curve = {1: 70.0}
    study.add_trial(
        optuna.create_trial(state=TrialState.COMPLETE, value=0.9, user_attrs=whole, intermediate_values=curve)
    )
    monkeypatch.setattr("search.runner.final_training.train_waiting_finalists", lambda study, bench: None)
    monkeypatch.setattr("search.runner.final_training.enqueue_finalist", lambda study: False)
    finish(study, finishing(), lambda: False)
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert {trial.user_attrs[FINALIST] for trial in waiting} == {3}
    assert [trial.user_attrs[FORMAT] for trial in waiting] == ["float16", "dynamic", "int8"]


def finishing() -> Any:
    """A worker of a study with finalists."""
    return replace(shift_of(), config=StudyConfig(road="latency", final_training=FinalTraining(candidates=9)))


def test_of_two_workers_that_ask_for_the_same_finalist_one_trains_it(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(about: dict[str, Any], state: TrialState = TrialState.WAITING) -> None:
        study.add_trial(optuna.create_trial(state=state, value=None, user_attrs={FINALIST: 0, **about}))

    asked({FORMAT: "int8", "reason": f"{OUT_OF_TIME}: no time"}, TrialState.FAIL)  # neither these two
    asked({FORMAT: "int8", ASKED_AGAIN: True}, TrialState.FAIL)
    for about in ({}, {FORMAT: "int8"}, {FORMAT: "int8"}, {FORMAT: "float16"}, {}):
        asked(about)
    ran: list[int] = []
    monkeypatch.setattr("search.runner.final_training.run_trial", lambda trial, bench: ran.append(trial.number) or 1.0)

    def run_one(trial: optuna.Trial, shift: Shift) -> float:
        trial.set_user_attr("shortfall", 0.0)
        return run_once(trial, shift)  # type: ignore[arg-type]  # run_trial needs the bench, and is none here

    optimize(study, shift_of(), run_one, lambda: len(study.get_trials(states=(TrialState.WAITING,))))
    assert ran == [2, 3, 5]
    twice = [trial for trial in study.get_trials() if trial.user_attrs.get("reason", "").startswith("twice there")]
    assert [(trial.number, trial.state) for trial in twice] == [(4, TrialState.PRUNED), (6, TrialState.PRUNED)]
    assert twice[0].user_attrs["reason"] == "twice there: trial 3 is the same finalist in the same format"
    assert [trial.number for trial in finalists(study)[0]] == [2, 3, 5]


def test_a_start_that_stands_there_twice_is_asked_for_once(tmp_path: Path) -> None:
    shift = Shift(StudyConfig(name="x", road="latency", folder=tmp_path), squares.silent(), time.monotonic(), None)
    asked = [{"epochs": 4}, {"epochs": 5}, {"epochs": 4}]
    for _ in range(2):
        study = begin_study(shift, {}, {}, asked)
        assert [asked_params(trial) for trial in study.get_trials()] == [{"epochs": 4}, {"epochs": 5}]


def test_a_worker_that_finds_no_row_left_makes_none_up(study: optuna.Study) -> None:
    grid = Grid(pruning_ratio=[0.5], epochs=[0])
    with pytest.raises(optuna.TrialPruned, match="another worker took the row"):
        run_row(study.ask(), shift_of(), grid)
    assert study.trials[0].params == {}
