"""Where a winner lies: in a study's storage, in studies/results, or in an unpacked submission."""

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from compress.errors import UsageError
from compress.spec import CompressionSpec
from search.config import StudyConfig, load_config, overlaid, parse_config
from search.report.export import RESULT
from search.storage.artifacts import read_artifact
from search.storage.open import is_there, shown, storage_url
from search.storage.study_state import best_trial, load_study
from search.study_file import self_contained_text

BASES = "bases"
"""Beside the winners: the networks that they were made of, where these are no longer the bundled one."""


@dataclass(frozen=True)
class Source:
    """A winner: the bytes that were measured, the specification that leads to them, and the study they are of.

    `text` is the study file's; `trial` the number in the storage, None where the winner lay in a folder. `base` is the
    key of the network that it was made of, None where that is not told.
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
        """The name of the bytes."""
        return sha256(self.model).hexdigest()


def find_source(path: Path, runs: Path, trial: int | None = None, **given: str | None) -> Source:
    """The winner that `path` leads to: a study file with its storage, or a folder with a winner in it.

    `given`: what options of the command say in place of the study file. A study that was never run here is looked for
    in `results/<its name>` beside its file, unless a storage is named. Raises UsageError where nothing is found, for a
    trial that has no model, and for files that are missing or have changed.
    """
    if path.is_dir():
        source = _from_folder(path, runs, trial)
        return replace(source, config=overlaid(source.config, **given))
    config = overlaid(load_config(path, runs), **given)
    if is_there(config):
        return _from_storage(path, config, trial)
    folder = path.parent / "results" / config.name
    if config.storage is not None or not folder.is_dir():
        where = shown(storage_url(config))
        missing = f"{where} has no such study" if config.storage else f"neither {where} nor {folder} exists"
        raise UsageError(f"{config.name}: {missing}; find a winner with `thrones run {path}`")
    source = _from_folder(folder, runs, trial)
    return replace(source, config=overlaid(source.config, **given))


def _from_storage(path: Path, config: StudyConfig, number: int | None) -> Source:
    study = load_study(config)
    trials = study.get_trials(deepcopy=False)
    if number is None:
        best = best_trial(study)
        if best is None:
            raise UsageError(f"{path}: no trial keeps the rule yet; go on with `thrones run {path}`, or name a --trial")
        number = best.number
    key = "artifact model.tflite"
    if not 0 <= number < len(trials) or key not in trials[number].user_attrs:
        whole = [str(trial.number) for trial in trials if key in trial.user_attrs]
        raise UsageError(f"trial {number} of {path} has no model; these have one: {', '.join(whole) or 'none'}")
    about = trials[number].user_attrs
    model = read_artifact(config, about[key])
    _same(f"artifact {about[key]}", model, about["candidate"]["sha256"])
    spec = CompressionSpec.from_dict(about["spec"])
    where = f"trial {number} of {shown(storage_url(config))}"
    base = study.user_attrs.get("identity", {}).get("base")
    return Source(where, config, self_contained_text(path), spec, model, base, number)


def _from_folder(folder: Path, runs: Path, trial: int | None) -> Source:
    if trial is not None:
        raise UsageError(f"--trial {trial} needs a study that was run here; {folder} holds one winner")
    """Of `thrones best --results`, with its result.json, or of a submission, with its study file and results.json."""
    studies = sorted(folder.glob("*.toml"))
    model, spec = _read(folder / "model.tflite"), CompressionSpec.from_dict(_json(folder / "spec.json"))
    about = _json(folder / ("results.json" if len(studies) == 1 else RESULT))
    _same(folder / "model.tflite", model, str(about.get("sha256")))
    if len(studies) == 1:
        path, text = studies[0], _read(studies[0]).decode(errors="replace")
    else:
        path, text = folder / f"{about['name']}.toml", about["study"]
    base = about.get("base")
    config = parse_config(text, path, runs)
    kept = folder.parent / BASES / f"{base}.npz"
    if config.base is None and kept.is_file():
        config = overlaid(config, base=str(kept))
    return Source(str(folder), config, text, spec, model, base)


def _same(path: Path | str, model: bytes, wanted: str) -> None:
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
