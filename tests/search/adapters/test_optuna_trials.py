"""The contract with Optuna: each function of the adapter against a real study in a database."""

import copy
import json
from pathlib import Path

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.storages._rdb.storage import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import get_note, save_note

from search.adapters.optuna_trials import (
    CONSTRAINTS,
    artifact_entries,
    attributes_of,
    copy_study,
    database_of,
    enqueue,
    enqueued_params,
    fail_trial,
    frozen_trial,
    id_of,
    running_trials,
    sees_only,
    storage_of,
    was_ended_elsewhere,
    with_constraint,
    write_attribute,
)
from search.storage.open_storage import open_storage

COMPLETE, FAIL, RUNNING = TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING


@pytest.fixture
def storage(tmp_path: Path) -> BaseStorage:
    return open_storage(f"sqlite:///{tmp_path}/study.db")


@pytest.fixture
def study(storage: BaseStorage) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(study_name="ours", storage=storage, sampler=RandomSampler(seed=0))


@pytest.fixture
def other(study: optuna.Study, tmp_path: Path) -> optuna.Study:
    """The same study, as another process has it."""
    return optuna.load_study(study_name="ours", storage=open_storage(f"sqlite:///{tmp_path}/study.db"))


def complete(study: optuna.Study, value: float) -> None:
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    study.tell(trial, value)


def test_attributes_of_studies_and_trials(study: optuna.Study, other: optuna.Study) -> None:
    trial = study.ask()
    for owner in (study, trial):
        assert attributes_of(owner) == {}
        write_attribute(owner, "name", {"values": [1, 0.5, None, "text"]})
    assert attributes_of(other) == attributes_of(other.trials[0]) == {"name": {"values": [1, 0.5, None, "text"]}}
    assert attributes_of(trial) == attributes_of(other.trials[0])


def test_what_is_enqueued_keeps_parameters_and_attributes(study: optuna.Study, other: optuna.Study) -> None:
    enqueue(study, {"x": 0.25}, {"refinement": {"of": 7}})
    (waiting,) = other.trials
    assert waiting.state is TrialState.WAITING
    assert attributes_of(waiting) == {"refinement": {"of": 7}}
    assert enqueued_params(waiting) == {"x": 0.25}
    trial = other.ask()
    assert attributes_of(trial) == {"refinement": {"of": 7}}
    assert trial.suggest_float("x", 0, 1) == 0.25
    other.tell(trial, 1.0)
    assert attributes_of(other.trials[0]) == {"refinement": {"of": 7}}


def test_enqueued_parameters_are_those_that_it_was_given_and_those_that_it_has_chosen(study: optuna.Study) -> None:
    enqueue(study, {"x": 0.25, "y": 0.75}, {})
    trial = study.ask()
    assert enqueued_params(study.trials[0]) == {"x": 0.25, "y": 0.75}
    trial.suggest_float("x", 0, 1)
    chosen = trial.suggest_float("z", 0, 1)
    assert enqueued_params(study.trials[0]) == {"x": 0.25, "y": 0.75, "z": chosen}
    study.ask()
    assert enqueued_params(study.trials[1]) == {}


def test_a_running_trial_of_another_process_is_failed(study: optuna.Study, other: optuna.Study) -> None:
    complete(study, 1.0)
    study.ask()
    fail_trial(other, 1, {"outcome": {"end_reason": "interrupted"}, "retried": True})
    assert [trial.state for trial in study.trials] == [COMPLETE, FAIL]
    assert attributes_of(study.trials[1]) == {"outcome": {"end_reason": "interrupted"}, "retried": True}


@pytest.mark.parametrize("attributes", [{}, {"retried": True}])
def test_a_trial_that_has_ended_meanwhile_stays_as_it_is(
    study: optuna.Study, other: optuna.Study, attributes: dict[str, object]
) -> None:
    trial = study.ask()
    assert other.trials[0].state is RUNNING
    study.tell(trial, 1.0)
    fail_trial(other, 0, attributes)
    assert [(each.state, each.value, each.user_attrs) for each in study.trials] == [(COMPLETE, 1.0, {})]


@pytest.mark.slow
def test_writing_into_a_lost_trial(study: optuna.Study, other: optuna.Study) -> None:
    trial = study.ask()
    fail_trial(other, trial.number, {})
    with pytest.raises(UpdateFinishedTrialError) as caught:
        write_attribute(trial, "late", True)
    assert was_ended_elsewhere(caught.value)


def test_telling_the_result_of_a_lost_trial(study: optuna.Study, other: optuna.Study) -> None:
    trial = study.ask()
    fail_trial(other, trial.number, {})
    with pytest.raises(ValueError, match="^Cannot tell a FAIL trial") as caught:  # a class of its own it has not
        study.tell(trial, 1.0)
    assert was_ended_elsewhere(caught.value)


@pytest.mark.parametrize("writes", [True, False])
def test_a_trial_that_is_lost_while_it_runs(study: optuna.Study, other: optuna.Study, writes: bool) -> None:
    """Its error may be the context of another one: Optuna's own error handling fails as well."""

    def run(trial: optuna.Trial) -> float:
        fail_trial(other, trial.number, {})
        if writes:
            write_attribute(trial, "late", True)
        return 1.0

    with pytest.raises((ValueError, AssertionError)) as caught:
        study.optimize(run, n_trials=1)
    error: BaseException | None = caught.value
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    assert [was_ended_elsewhere(each) for each in chain].count(True) == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("Cannot"), RuntimeError(), KeyboardInterrupt()])
def test_other_errors_are_not_those_of_a_lost_trial(error: BaseException) -> None:
    assert not was_ended_elsewhere(error)


def seen_by(sampler: type[BaseSampler], study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Have every look of samplers at the trials be noted."""
    looks: list[list[int]] = []
    original = sampler.sample_relative

    def look(self: BaseSampler, narrowed: optuna.Study, *others: object) -> dict[str, object]:
        for states in ((COMPLETE,), None):
            found = narrowed._get_trials(deepcopy=False, states=states, use_cache=True)
            looks.append([trial.number for trial in found])
        return original(self, narrowed, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(sampler, "sample_relative", look)
    return looks


def test_a_sampler_sees_only_what_is_chosen(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in range(5):
        complete(study, float(value))
    looks = seen_by(TPESampler, study, monkeypatch)

    class Narrowed(TPESampler):
        def sample_relative(self, study: optuna.Study, *others: object) -> dict[str, object]:
            return super().sample_relative(sees_only(study, choose), *others)  # type: ignore[arg-type]

    def choose(trials: list[FrozenTrial]) -> list[FrozenTrial]:
        return [trial for trial in trials if trial.number % 2 == 0]

    study.sampler = Narrowed(seed=0, multivariate=True, n_startup_trials=1)
    assert 0 <= study.ask().suggest_float("x", 0, 1) <= 1
    assert looks == [[0, 2, 4], [0, 2, 4]]
    assert len(study._get_trials(deepcopy=False)) == 6  # the study itself sees all, the running one included


def test_only_the_copy_of_a_trial_has_the_constraint(study: optuna.Study) -> None:
    complete(study, 1.0)
    (shared,) = study.get_trials(deepcopy=False)
    before = copy.deepcopy(vars(shared))
    shown = with_constraint(shared, -0.5)
    assert shown.system_attrs[CONSTRAINTS] == [-0.5]
    assert (shown.number, shown.value, shown.params) == (shared.number, shared.value, shared.params)
    assert vars(shared) == before
    assert CONSTRAINTS not in study.get_trials(deepcopy=False)[0].system_attrs


def test_a_constraint_replaces_the_one_that_a_sampler_has_written(study: optuna.Study) -> None:
    trial = optuna.create_trial(value=1.0, system_attrs={CONSTRAINTS: [3.0], "kept": 1})
    assert with_constraint(trial, 0.5).system_attrs == {CONSTRAINTS: [0.5], "kept": 1}
    assert trial.system_attrs == {CONSTRAINTS: [3.0], "kept": 1}


def test_constraints_are_where_samplers_write_them(storage: BaseStorage) -> None:
    with pytest.warns(Warning):
        sampler = TPESampler(constraints_func=lambda trial: (2.5,))
    study = optuna.create_study(storage=storage, sampler=sampler)
    complete(study, 1.0)
    assert list(study.trials[0].system_attrs[CONSTRAINTS]) == [2.5]


def test_the_entries_of_all_artifacts(study: optuna.Study, tmp_path: Path) -> None:
    assert artifact_entries(study) == []
    folder = tmp_path / "artifacts"
    folder.mkdir()
    store = FileSystemArtifactStore(folder)
    (tmp_path / "file").write_bytes(b"content")
    ids = []
    for owner in (study, study.ask(), study.ask()):
        ids.append(upload_artifact(artifact_store=store, file_path=str(tmp_path / "file"), study_or_trial=owner))
    entries = [json.loads(entry) for entry in artifact_entries(study)]
    assert [entry["artifact_id"] for entry in entries] == ids
    assert {entry["filename"] for entry in entries} == {"file"}


def test_a_study_is_copied_with_its_trials_and_dashboard_notes(study: optuna.Study, tmp_path: Path) -> None:
    complete(study, 1.0)
    study.ask()
    enqueue(study, {"x": 0.25}, {"refinement": {"of": 0}})
    save_note(study, "ours")
    write_attribute(study, "kept", 1)
    write_attribute(study, "replaced", 1)
    storage_of(study).set_study_system_attr(id_of(study), f"of:{id_of(study.trials[1])}", "a trial's")
    target = open_storage(f"sqlite:///{tmp_path}/copy.db")
    optuna.create_study(storage=target).ask()  # so that the copies have other ids

    def rename(key: str, ids: dict[int, int]) -> str:
        kind, _, number = key.partition(":")
        return f"of:{ids[int(number)]}" if kind == "of" else key

    copy_study(study, target, {"replaced": 2, "added": 3}, rename)  # type: ignore[arg-type]  # it only reads `ids`
    copied = optuna.load_study(study_name="ours", storage=target)
    assert copied.direction == study.direction
    assert attributes_of(copied) == {"kept": 1, "replaced": 2, "added": 3}
    assert get_note(copied) == "ours"
    system = storage_of(copied).get_study_system_attrs(id_of(copied))
    assert id_of(copied.trials[1]) != id_of(study.trials[1])
    assert system[f"of:{id_of(copied.trials[1])}"] == "a trial's"
    names = ("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs", "datetime_start")
    assert [[getattr(trial, name) for name in names] for trial in copied.trials] == [
        [getattr(trial, name) for name in names] for trial in study.trials
    ]
    assert attributes_of(study)["replaced"] == 1


def test_a_study_is_not_copied_over_another_one(study: optuna.Study, tmp_path: Path) -> None:
    target = open_storage(f"sqlite:///{tmp_path}/copy.db")
    optuna.create_study(study_name="ours", storage=target)
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        copy_study(study, target, {}, lambda key, ids: key)


def test_running_trials(study: optuna.Study) -> None:
    complete(study, 1.0)
    running = study.ask()
    enqueue(study, {}, {})
    assert [trial.number for trial in running_trials(study)] == [running.number]


def test_the_storage_and_the_database_below_its_cache(study: optuna.Study, storage: BaseStorage) -> None:
    assert isinstance(database_of(study), RDBStorage)
    assert storage_of(study).get_study_name_from_id(id_of(study)) == "ours"
    in_memory = optuna.create_study()
    assert database_of(in_memory) is None
    assert storage_of(in_memory).get_study_name_from_id(id_of(in_memory)) == in_memory.study_name


def test_a_frozen_trial_is_as_optuna_makes_it(study: optuna.Study) -> None:
    complete(study, 1.0)
    study.ask().report(0.5, 3)
    for each in study.trials:
        made = frozen_trial(
            each._trial_id,
            each.number,
            each.state,
            values=each.values,
            start=each.datetime_start,
            end=each.datetime_complete,
            params=each.params,
            distributions=each.distributions,
            attributes=each.user_attrs,
            system_attributes=each.system_attrs,
            curve=each.intermediate_values,
        )
        assert made == each
