"""Find a winner: in a study's storage, in studies/results, or in an unpacked submission."""

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from compress.errors import UsageError
from compress.spec import CompressionSpec
from search.config import StudyConfig, load_config, overlaid, parse_config
from search.report.exported_result import RESULT_FILE, ExportedResult
from search.storage.artifacts import read_artifact
from search.storage.open_storage import load_study, study_exists
from search.storage.study_record import record_of
from search.storage.trial_record import MODEL, read_trials
from search.storage.urls import redact_url, storage_url
from search.strategy.ranking import best_trial
from search.study_file import self_contained_text

BASES = "bases"
"""The folder beside the winners with their base networks, where these are no longer the bundled one."""


@dataclass(frozen=True)
class Winner:
    """A winner: the measured bytes, the specification that leads to them, and their study.

    text: the study file's text.
    base: the key of the base network that it was built from, None where that is unknown.
    trial: the number in the storage, None where the winner came from a folder.
    """

    where: str
    config: StudyConfig
    text: str
    spec: CompressionSpec
    model: bytes
    base: str | None = None
    trial: int | None = None

    @property
    def sha256(self) -> str:
        """The hash that names the bytes."""
        return sha256(self.model).hexdigest()


class _SubmittedModel(BaseModel):
    """The part of a submission's results.json that says which model was measured."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    base: str | None = None


def find_winner(path: Path, runs: Path, trial: int | None = None, **given: str | None) -> Winner:
    """Return the winner that `path` leads to.

    Args:
        path: A study file with its storage, or a folder with a winner in it. A study that was never run here is looked
            for in `results/<its name>` beside its file, unless a storage is named.
        runs: The folder of the studies' folders.
        trial: Another trial than the best.
        given: Options of the command that replace those of the study file.

    Raises:
        UsageError: Nothing was found, the trial has no model, or files are missing or have changed.
    """
    if path.is_dir():
        winner = _from_folder(path, runs, trial)
        return replace(winner, config=overlaid(winner.config, **given))
    config = overlaid(load_config(path, runs), **given)
    if study_exists(config):
        return _from_storage(path, config, trial)
    folder = path.parent / "results" / config.name
    if config.storage is not None or not folder.is_dir():
        where = redact_url(storage_url(config))
        missing = f"{where} has no such study" if config.storage else f"neither {where} nor {folder} exists"
        raise UsageError(f"{config.name}: {missing}; find a winner with `thrones run {path}`")
    winner = _from_folder(folder, runs, trial)
    return replace(winner, config=overlaid(winner.config, **given))


def _from_storage(path: Path, config: StudyConfig, number: int | None) -> Winner:
    study = load_study(config)
    records = read_trials(study)
    stored = record_of(study)
    if number is None:
        best = best_trial(records, config.road, stored.remeasured)
        if best is None:
            remedy = f"continue with `thrones run {path}`, or use --trial"
            raise UsageError(f"{path}: no trial meets the accuracy constraint yet", remedy=remedy)
        number = best.number
    record = records[number] if 0 <= number < len(records) else None
    if record is None or record.spec is None or record.evaluation is None or MODEL not in record.artifacts:
        whole = [str(each.number) for each in records if MODEL in each.artifacts]
        raise UsageError(f"trial {number} of {path} has no model; these have one: {', '.join(whole) or 'none'}")
    artifact = record.artifacts[MODEL]
    model = read_artifact(config, artifact)
    _check_hash(f"artifact {artifact}", model, record.evaluation.sha256)
    where = f"trial {number} of {redact_url(storage_url(config))}"
    return Winner(where, config, self_contained_text(path), record.spec, model, stored.base_key, number)


def _from_folder(folder: Path, runs: Path, trial: int | None) -> Winner:
    """Read a folder of `thrones best --results`, with its result.json, or a submission, with its study file."""
    if trial is not None:
        raise UsageError(f"--trial {trial} needs a study that was run here; {folder} holds one winner")
    model = _read(folder / "model.tflite")
    spec = CompressionSpec.from_dict(_json(folder / "spec.json"))
    studies = sorted(folder.glob("*.toml"))
    if len(studies) == 1:
        path = studies[0]
        text = _read(path).decode(errors="replace")
        submitted = _submitted_model(folder / "results.json")
        wanted, base = submitted.sha256, submitted.base
    else:
        result = ExportedResult.read(folder / RESULT_FILE)
        path = folder / f"{result.name}.toml"
        text = result.study
        wanted, base = result.sha256, result.base
    _check_hash(folder / "model.tflite", model, wanted)
    config = parse_config(text, path, runs)
    kept_base = folder.parent / BASES / f"{base}.npz"
    if config.base is None and kept_base.is_file():
        config = overlaid(config, base=str(kept_base))
    return Winner(str(folder), config, text, spec, model, base)


def _submitted_model(path: Path) -> _SubmittedModel:
    try:
        return _SubmittedModel.model_validate(_json(path))
    except ValidationError as error:
        raise UsageError(f"{path} does not name its model; run `thrones replay` again") from error


def _check_hash(path: Path | str, model: bytes, wanted: str) -> None:
    found = sha256(model).hexdigest()
    if found != wanted:
        raise UsageError(f"{path} has changed since it was measured: sha256 {found[:12]}, wanted {wanted[:12]}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); a winner needs it") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(_read(path))
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no object but {type(values).__name__}")
    return values
