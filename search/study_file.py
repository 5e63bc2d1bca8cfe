"""Read the TOML of study files: `extends`, the old spellings of keys, and the files that they name."""

import difflib
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from edge.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DATA = ("cifar10", "digits")
"""The data that is no file."""
NOT_EXTENDED = ("name", "folder")
"""Keys that a study does not take over from the file that it extends."""
RENAMED = {
    "": {
        "rule": "constraint",
        "finish": "final_training",
        "start": "initial",
        "rehearsal": "dry_run",
        "otherwise": "fallback",
    },
    "space": {"fraction": "pruning_ratio", "ends": "io_dtype"},
    "training": {"shift_pixels": "crop_padding"},
    "final_training": {"share": "budget_fraction"},
    "initial": {"fractions": "pruning_ratios"},
    "grid": {"fraction": "pruning_ratio"},
}
"""By section (its new name; "": outside of all sections): old key -> new key.

A study's fingerprint holds the keys of its sections: to rename one is to refuse the studies that were begun before.
"""


class StudyValues(NamedTuple):
    """The content of a study file under the new keys, and a few words for each old key that it has."""

    values: dict[str, Any]
    renamed: list[str]


def read_text(path: Path) -> str:
    """Return the text of a study file. Raises UsageError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist", remedy=_known_studies(path)) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no TOML: {error}") from error


def _known_studies(path: Path) -> str:
    """Return what could have been meant: the nearest name, or all study files beside `path` and in `studies/`."""
    folders = {path.parent, path.parent / "studies"}
    known = sorted(other for folder in folders for other in folder.glob("*.toml") if other.name != "pyproject.toml")
    near = difflib.get_close_matches(path.stem, [other.stem for other in known], n=1)
    if near:
        return f"did you mean {next(other for other in known if other.stem == near[0])}?"
    return f"study files there: {', '.join(str(other) for other in known) or 'none'}"


def parse_values(text: str, path: Path, shown: Path | None = None) -> StudyValues:
    """Parse the text of the study file at `path`, which messages call `shown`, merged with the file that it extends.

    Raises UsageError for text that is no TOML, both spellings of one key, and a file that cannot be extended.
    """
    return _parse(text, path, shown or path, ())


def self_contained_text(path: Path) -> str:
    """Return the text of a study file as it is stored or packed: merged with the file that it extends."""
    text = read_text(path)
    if "extends" not in _load(text, path):
        return text
    return f"# {path.name}, merged with the file that it extends\n{_to_toml(parse_values(text, path).values)}"


def located(named: str, study: Path) -> str:
    """Return the file that a study file names: beside it, or else in the working folder; other data as it is."""
    place = os.path.expanduser(named)
    beside = study.parent / place
    return str(beside) if named not in DATA and beside.exists() else place


def check_exists(study: Path, key: str, place: str) -> None:
    """Raise UsageError where the file that a study file names as data or base is in neither place."""
    if place not in DATA and not Path(place).exists():
        looked = dict.fromkeys(str(found.absolute()) for found in (study.parent / place, Path(place)))
        raise UsageError(f"{study}: {key} {place} is not there; looked for {' and '.join(looked)}")


def _load(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML: {error}") from error


def _parse(text: str, path: Path, shown: Path, extending: tuple[Path, ...]) -> StudyValues:
    values, renamed = _with_new_keys(_load(text, shown), shown)
    extended = values.pop("extends", None)
    if extended is None:
        return StudyValues(values, renamed)
    chain = (*extending, path.resolve())
    parent = _extended_path(extended, path, shown)
    if parent.resolve() in chain:
        names = " -> ".join(each.name for each in (*chain, parent))
        raise UsageError(f"{shown}: extends goes in a circle: {names}", remedy="remove one of them")
    below = _parse(read_text(parent), parent, parent, chain)
    return StudyValues(_merged(below.values, values), [*renamed, *below.renamed])


def _extended_path(extended: Any, path: Path, shown: Path) -> Path:
    if not isinstance(extended, str):
        raise UsageError(f'{shown}: "extends" must be the name of a study file, got {extended!r}')
    parent = path.parent / extended
    if not parent.is_file():
        message = f"{shown}: extends {extended}, but {parent} does not exist"
        raise UsageError(message, remedy="name an existing study file")
    return parent


def _merged(below: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return `below` with `values` over it: sections key by key; [[initial]] of `values` come first."""
    merged = {key: value for key, value in below.items() if key not in NOT_EXTENDED}
    for key, value in values.items():
        under = merged.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            merged[key] = {**under, **value}
        elif key == "initial" and isinstance(under, list) and isinstance(value, list):
            merged[key] = [*value, *under]
        else:
            merged[key] = value
    return merged


def _with_new_keys(values: dict[str, Any], path: Path) -> tuple[dict[str, Any], list[str]]:
    renamed: dict[str, None] = {}  # each once, in the file's order
    values = _rename(values, "", path, renamed)
    for section, content in values.items():
        if isinstance(content, dict):
            values[section] = _rename(content, section, path, renamed)
        elif isinstance(content, list):
            values[section] = [
                _rename(entry, section, path, renamed) if isinstance(entry, dict) else entry for entry in content
            ]
    return values, list(renamed)


def _rename(values: dict[str, Any], section: str, path: Path, renamed: dict[str, None]) -> dict[str, Any]:
    new_keys = RENAMED.get(section, {})
    where = f" in [{section}]" if section else ""
    found: dict[str, Any] = {}
    for key, value in values.items():
        new_key = new_keys.get(key, key)
        if new_key in found:
            raise UsageError(f'{path}: old and new spelling of one key{where}; keep "{new_key}" alone')
        if new_key != key:
            renamed[f'"{key}"{where} is now "{new_key}"'] = None
        found[new_key] = value
    return found


def _to_toml(values: dict[str, Any]) -> str:
    """Write the values of a study file as TOML; JSON's strings, numbers, booleans and lists are TOML's as well."""
    lines = []
    tables = []
    for key, value in values.items():
        if isinstance(value, dict):
            tables += ["", f"[{key}]", *_assignments(value)]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for entry in value:
                tables += ["", f"[[{key}]]", *_assignments(entry)]
        else:
            lines += _assignments({key: value})
    return "\n".join([*lines, *tables]) + "\n"


def _assignments(values: dict[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
