"""All trials of a study at once are what Optuna gives one by one."""

import math
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages._rdb.storage import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, event

from search.adapters.optuna_rows import read_trials
from search.adapters.optuna_trials import database_of
from search.storage.open_storage import open_storage


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """Trials of every state, with every kind of value."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"))
    optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", study_name="another").ask()
    for value in (1.5, math.inf, -math.inf):
        trial = found.ask()
        trial.suggest_float("width", 0, 1)
        trial.suggest_categorical("format", ["float32", None, 8])
        trial.suggest_int("epochs", 1, 64, log=True)
        for step, accuracy in enumerate((0.5, math.nan, math.inf, -math.inf)):
            trial.report(accuracy, 10 - step)
        trial.set_user_attr("spec", {"ratios": [0.5, 0.25], "dtype": "int8"})
        trial.set_user_attr("reason", "none")
        found.tell(trial, value)
    found.ask().suggest_float("width", 0, 1)
    found.tell(found.ask(), state=TrialState.FAIL)
    found.enqueue_trial({"width": 0.25}, user_attrs={"reason": "wanted"})
    return found


def facts_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return all that a trial holds, as text, in one order: a NaN is not equal to itself."""
    return {
        name: sorted(map(repr, value.items())) if isinstance(value, dict) else repr(value)
        for name, value in vars(trial).items()
    }


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_what_is_read_at_once_is_what_optuna_reads(
    zone: str, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        check(study)
    time.tzset()


def check(study: optuna.Study) -> None:
    database = database_of(study)
    optuna_s = RDBStorage._get_trials(database, study._study_id, None, set(), -1)
    with database.engine.connect() as connection:
        at_once = read_trials(connection, study._study_id)
        few = read_trials(connection, study._study_id, only=[optuna_s[1]._trial_id, optuna_s[4]._trial_id])
        summaries = read_trials(connection, study._study_id, attributes=["reason"])
    assert list(map(facts_of, at_once)) == list(map(facts_of, optuna_s))
    assert [list(trial.params) for trial in at_once] == [list(trial.params) for trial in optuna_s]
    assert [trial.number for trial in few] == [1, 4]
    assert [trial.state.name for trial in summaries] == ["COMPLETE"] * 3 + ["RUNNING", "FAIL", "WAITING"]
    assert [trial.value for trial in summaries] == [1.5, math.inf, -math.inf, None, None, None]
    assert [trial.user_attrs.get("reason") for trial in summaries] == ["none"] * 3 + [None, None, "wanted"]
    assert not any(trial.params or trial.system_attrs or trial.intermediate_values for trial in summaries)


def test_a_trial_that_ends_while_it_is_read_is_seen_as_running(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/study.db", connect_args={"timeout": 5})
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"))  # which is written ahead
    trial = study.ask()
    ends = iter([lambda: study.tell(trial, 1.0)])

    @event.listens_for(engine, "after_cursor_execute")
    def _between(*_: object) -> None:  # after the first SELECT
        next(ends, lambda: None)()

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        (read,) = read_trials(connection, study._study_id)
        (later,) = read_trials(connection, study._study_id)
    assert read.state is TrialState.RUNNING  # Optuna reads it again, and does not keep it without its value
    assert (later.state, later.value) == (TrialState.COMPLETE, 1.0)


def test_a_study_that_is_not_there(study: optuna.Study) -> None:
    with pytest.raises(KeyError):
        study._storage.get_all_trials(99)


def test_a_trial_that_waits_with_its_parameters_is_as_optuna_writes_it(study: optuna.Study) -> None:
    seed = study.get_trials()[0]
    waiting = optuna.create_trial(
        state=TrialState.WAITING, params=seed.params, distributions=seed.distributions
    )
    study.add_trial(waiting)
    database = database_of(study)
    RDBStorage._create_new_trial(database, study._study_id, waiting)
    ours, optuna_s = study.get_trials()[-2:]
    assert [ours.number, optuna_s.number] == [6, 7]
    apart = ("number", "_number", "_trial_id")
    assert {k: v for k, v in facts_of(ours).items() if k not in apart} == {
        k: v for k, v in facts_of(optuna_s).items() if k not in apart
    }
    assert study.ask().number == 5  # those that wait are asked for in their turn
    asked = study.ask()
    assert (asked.number, asked.params) == (6, seed.params)
    assert asked.suggest_float("width", 0, 1) == seed.params["width"]
    study.tell(asked, 1.0)
    assert study.get_trials()[6].params == seed.params
