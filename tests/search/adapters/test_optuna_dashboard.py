"""The contract with optuna-dashboard: notes and artifacts are stored and shown as the library does it itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna_dashboard import get_note, save_note
from optuna_dashboard._note import get_note_from_system_attrs, note_ver_key, split_body

from search.adapters.optuna_dashboard import (
    build_app,
    read_study_note,
    trials_without_note,
    write_study_note,
    write_trial_notes,
)

LONG = "a word " * 1000  # the library splits it into several attributes


@pytest.fixture
def study() -> optuna.Study:
    """A study with three trials that have ended."""
    made = optuna.create_study(study_name="noted")
    for value in (1.0, 2.0, 3.0):
        made.add_trial(optuna.create_trial(value=value))
    return made


def note_of(study: optuna.Study, number: int) -> dict[str, Any]:
    """Return the note of a trial as the library reads it."""
    attributes = study._storage.get_study_system_attrs(study._study_id)
    return dict(get_note_from_system_attrs(attributes, study.get_trials()[number]._trial_id))


def page_of(study: optuna.Study, artifacts: FileSystemArtifactStore | None = None) -> dict[str, Any]:
    """Return what the dashboard's page of the study gets."""
    app: Callable[..., Any] = build_app(study._storage, artifacts)
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": f"/api/studies/{study._study_id}",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
    }
    answers: list[str] = []
    body = b"".join(app(environ, lambda status, headers, *_: answers.append(status)))
    assert answers == ["200 OK"], body
    return dict(json.loads(body))


def test_the_first_note_of_a_trial_is_one_that_the_library_reads(study: optuna.Study) -> None:
    assert trials_without_note(study) == {0, 1, 2}
    write_trial_notes(study, {0: "**Complete**", 2: LONG})
    assert trials_without_note(study) == {1}
    assert note_of(study, 0) == {"version": 1, "body": "**Complete**"}
    assert note_of(study, 2) == {"version": 1, "body": LONG}


def test_a_note_that_a_person_wrote_counts_as_one(study: optuna.Study) -> None:
    save_note(study.ask(), "my own")
    assert trials_without_note(study) == {0, 1, 2}
    assert note_of(study, 3)["body"] == "my own"


def test_the_study_note_is_the_library_s(study: optuna.Study) -> None:
    assert read_study_note(study) == ""
    write_study_note(study, LONG)
    assert get_note(study) == LONG
    save_note(study, "a person's")
    assert read_study_note(study) == "a person's", "nothing is left of the longer one"
    write_study_note(study, "ours again")
    attributes = study._storage.get_study_system_attrs(study._study_id)
    assert get_note_from_system_attrs(attributes, None) == {"version": 3, "body": "ours again"}


def test_the_page_shows_each_note_as_the_library_reads_it(study: optuna.Study) -> None:
    ids = [trial._trial_id for trial in study.get_trials()]
    write_trial_notes(study, {0: LONG})
    attributes = {**split_body("once longer", ids[1]), note_ver_key(ids[1]): 2}
    attributes[f"dashboard:{ids[1]}:note_str:1"] = ""  # cleared
    for key, value in attributes.items():
        study._storage.set_study_system_attr(study._study_id, key, value)
    write_study_note(study, "of the study")

    page = page_of(study)
    stored = study._storage.get_study_system_attrs(study._study_id)
    assert [trial["note"] for trial in page["trials"]] == [get_note_from_system_attrs(stored, each) for each in ids]
    assert page["note"] == get_note_from_system_attrs(stored, None) == {"version": 1, "body": "of the study"}


def test_the_page_lists_the_artifacts_of_each_trial(study: optuna.Study, tmp_path: Path) -> None:
    store = FileSystemArtifactStore(str(tmp_path))
    model = tmp_path / "model.tflite"
    model.write_bytes(b"a model")
    trial = study.ask()
    artifact = upload_artifact(artifact_store=store, file_path=str(model), study_or_trial=trial)
    study.tell(trial, 4.0)

    listed = [trial["artifacts"] for trial in page_of(study, store)["trials"]]
    assert listed[:3] == [[], [], []]
    assert [(each["filename"], each["artifact_id"]) for each in listed[3]] == [("model.tflite", artifact)]
