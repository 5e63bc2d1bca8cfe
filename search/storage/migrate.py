"""Copies studies from one storage to another, with artifacts."""

import json
import re
from collections.abc import Iterator, Mapping

import optuna

from compress.errors import UsageError
from search.adapters.optuna_trials import artifact_entries, copy_study, running_trials
from search.storage.artifacts import ArtifactStore, artifacts_at, place_with, write_probe
from search.storage.open_storage import open_storage
from search.storage.study_record import place_attributes
from search.storage.urls import has_file, redact_url


def copy_studies(
    source_url: str, target_url: str, name: str | None, artifacts: tuple[str, str] | None
) -> Iterator[str]:
    """Copy all studies, or the one of this name; yield a line for each as it is done.

    With `artifacts`, from where to where, those are copied as well, and the copy says that they are there.
    Raises UsageError for a study that is not there, that is there already, or that a worker is at.
    """
    if not has_file(source_url):
        raise UsageError(f"{redact_url(source_url)} does not exist; nothing was copied")
    source, target = open_storage(source_url), open_storage(target_url)
    names = optuna.get_all_study_names(source)
    if name is not None and name not in names:
        raise UsageError(f"{redact_url(source_url)} has no study {name!r}; it has {', '.join(names) or 'none'}")
    wanted = names if name is None else [name]
    there = set(wanted) & set(optuna.get_all_study_names(target))
    if there:
        raise UsageError(
            f"{redact_url(target_url)} has a study {sorted(there)[0]!r} already; results must not be mixed: name "
            "another database, or one study with --study"
        )
    stores = None if artifacts is None else (artifacts_at(artifacts[0]), artifacts_at(artifacts[1]))
    for each in wanted:
        study = optuna.load_study(study_name=each, storage=source)
        if running_trials(study):
            raise UsageError(f"study {each!r} has running trials; stop its workers first, or wait for them")
        moved = 0
        attributes = {}
        if artifacts is not None and stores is not None:  # first: no study without its models
            moved = _copy_artifacts(study, *stores)
            attributes = place_attributes(place_with(artifacts[1], write_probe(stores[1])))
        copy_study(study, target, attributes, _rename_note)
        yield f"{each}: {len(study.get_trials(deepcopy=False))} trials and {moved} artifacts copied"


def _rename_note(key: str, ids: Mapping[int, int]) -> str:
    """Return the key under which a study's system attribute is copied: those of notes hold trial ids."""

    def new_id(found: re.Match[str]) -> str:
        return str(ids.get(int(found[0]), found[0]))

    return re.sub(r"(?<=^dashboard:)\d+(?=:note)", new_id, key)


def _copy_artifacts(study: optuna.Study, source: ArtifactStore, target: ArtifactStore) -> int:
    entries = [json.loads(entry) for entry in artifact_entries(study)]
    artifacts = [entry["artifact_id"] for entry in entries if entry]  # empty: deleted in the dashboard
    for artifact in artifacts:
        try:
            with source.open_reader(artifact) as file:
                target.write(artifact, file)
        except optuna.artifacts.exceptions.ArtifactNotFound as error:
            raise UsageError(f"study {study.study_name!r}: artifact {artifact} is not in the source") from error
    return len(artifacts)
