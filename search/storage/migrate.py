"""Studies from one storage to another, with artifacts."""

import json
import re
from collections.abc import Iterator
from typing import Any

import optuna
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from compress.errors import UsageError
from search.storage.artifacts import PLACE, ArtifactStore, artifacts_at, place_with, write_probe
from search.storage.open import has_file, open_storage, shown


def copy_studies(
    source_url: str, target_url: str, name: str | None, artifacts: tuple[str, str] | None
) -> Iterator[str]:
    """Copy all studies, or the one of this name; a line for each as it is done.

    With `artifacts`, from where to where, those are copied as well, and the copy says that they are there.
    Raises UsageError for a study that is not there, that is there already, or that a worker is at.
    """
    if not has_file(source_url):
        raise UsageError(f"{shown(source_url)} does not exist; nothing was copied")
    source, target = open_storage(source_url), open_storage(target_url)
    names = optuna.get_all_study_names(source)
    if name is not None and name not in names:
        raise UsageError(f"{shown(source_url)} has no study {name!r}; it has {', '.join(names) or 'none'}")
    wanted = names if name is None else [name]
    there = set(wanted) & set(optuna.get_all_study_names(target))
    if there:
        raise UsageError(
            f"{shown(target_url)} has a study {sorted(there)[0]!r} already; results must not be mixed: name another "
            "database, or one study with --study"
        )
    stores = None if artifacts is None else (artifacts_at(artifacts[0]), artifacts_at(artifacts[1]))
    for each in wanted:
        study = optuna.load_study(study_name=each, storage=source)
        if study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            raise UsageError(f"study {each!r} has running trials; stop its workers first, or wait for them")
        moved, place = 0, {}
        if artifacts is not None and stores is not None:  # first: no study without its models
            moved = _copy_artifacts(study, source, *stores)
            place = {PLACE: place_with(artifacts[1], write_probe(stores[1]))}
        _copy(study, source, target, place)
        yield f"{each}: {len(study.get_trials(deepcopy=False))} trials and {moved} artifacts copied"


def _copy(study: optuna.Study, source: BaseStorage, target: BaseStorage, about: dict[str, Any]) -> None:
    """As `optuna.copy_study`, which leaves the trials' notes with ids that are other trials' in the target.

    What `about` says of the study stands in place of what its attributes say.
    """
    copied = optuna.create_study(study_name=study.study_name, storage=target, directions=study.directions)
    ids = {
        trial._trial_id: copied._storage.create_new_trial(copied._study_id, template_trial=trial)
        for trial in study.get_trials(deepcopy=False)
    }
    for key, value in source.get_study_system_attrs(study._study_id).items():
        key = re.sub(r"(?<=^dashboard:)\d+(?=:note)", lambda found: str(ids.get(int(found[0]), found[0])), key)
        copied._storage.set_study_system_attr(copied._study_id, key, value)
    for key, value in {**study.user_attrs, **about}.items():
        copied.set_user_attr(key, value)


def _copy_artifacts(study: optuna.Study, storage: BaseStorage, source: ArtifactStore, target: ArtifactStore) -> int:
    attributes = [storage.get_study_system_attrs(study._study_id)]
    attributes += [trial.system_attrs for trial in study.get_trials(deepcopy=False)]
    about = [value for each in attributes for key, value in each.items() if key.startswith(ARTIFACTS_ATTR_PREFIX)]
    found = [meta["artifact_id"] for meta in map(json.loads, about) if meta]  # none: deleted in the dashboard
    for artifact in found:
        try:
            with source.open_reader(artifact) as file:
                target.write(artifact, file)
        except optuna.artifacts.exceptions.ArtifactNotFound as error:
            raise UsageError(f"study {study.study_name!r}: artifact {artifact} is not in the source") from error
    return len(found)
