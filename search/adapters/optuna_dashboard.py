"""optuna-dashboard's notes and pages, where its own way takes minutes for some thousands of trials."""

from collections.abc import Mapping
from itertools import count, takewhile
from typing import Any, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from optuna_dashboard import _serializer, get_note, save_note, wsgi
from optuna_dashboard._note import note_str_key_prefix, note_ver_key, split_body
from optuna_dashboard.artifact._backend import list_trial_artifacts

from search.adapters.optuna_trials import id_of, storage_of


def build_app(storage: Any, artifacts: Any) -> Any:
    """Return the dashboard as a WSGI application; notes and artifacts of a page are looked up at once.

    `storage` may be a view of a storage. `artifacts`: an artifact store, or None.
    """
    _serializer.note.get_note_from_system_attrs = _read_note
    _serializer.list_trial_artifacts = _list_artifacts
    return wsgi(cast(BaseStorage, storage), artifacts)


def _read_note(attributes: dict[str, Any], trial_id: int | None) -> dict[str, Any]:
    """Do as optuna-dashboard's own, which looks through the notes of all trials for each."""
    prefix = note_str_key_prefix(trial_id)
    parts = takewhile(bool, (attributes.get(f"{prefix}{number}") for number in count()))
    version = int(attributes.get(note_ver_key(trial_id), 0))
    return {"version": version, "body": "".join(str(part) for part in parts)}


def _list_artifacts(attributes: dict[str, Any], of_trial: dict[str, Any], trial: FrozenTrial) -> list[Any]:
    """Do likewise: only releases before Optuna had artifacts kept a trial's in the attributes of the study."""
    return list_trial_artifacts({}, of_trial, trial)  # type: ignore[no-any-return]


def trials_without_note(study: optuna.Study) -> set[int]:
    """Return the numbers of the trials that have no note."""
    written = storage_of(study).get_study_system_attrs(id_of(study))
    trials = study.get_trials(deepcopy=False)
    return {trial.number for trial in trials if note_ver_key(id_of(trial)) not in written}


def write_trial_notes(study: optuna.Study, notes: Mapping[int, str]) -> None:
    """Write the first note of each of these trials, by its number.

    The library's own function reads all notes again for each.
    """
    storage = storage_of(study)
    study_id = id_of(study)
    trials = study.get_trials(deepcopy=False)
    for number, body in notes.items():
        trial_id = id_of(trials[number])
        for key, part in split_body(body, trial_id).items():
            storage.set_study_system_attr(study_id, key, part)
        storage.set_study_system_attr(study_id, note_ver_key(trial_id), 1)  # last: it makes the note one


def read_study_note(study: optuna.Study) -> str:
    """Return the note of the study, "" where it has none."""
    return str(get_note(study))


def write_study_note(study: optuna.Study, body: str) -> None:
    """Replace the note of the study."""
    save_note(study, body)
