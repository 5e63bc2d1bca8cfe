"""Where the files are that a study file names as its data and its base."""

import os
from pathlib import Path

from compress.errors import UsageError

DATA = ("cifar10", "digits")
"""The data that is no file."""


def located(named: str, study: Path) -> str:
    """The file that a study file names: beside it, or else in the working folder; data that is no file as it is."""
    place = os.path.expanduser(named)
    beside = study.parent / place
    return str(beside) if named not in DATA and beside.exists() else place


def check_there(study: Path, key: str, place: str) -> None:
    """Raises UsageError where the file that a study file names as data or base is in neither place."""
    if place not in DATA and not Path(place).exists():
        looked = dict.fromkeys(str(found.absolute()) for found in (study.parent / place, Path(place)))
        raise UsageError(f"{study}: {key} {place} is not there; looked for {' and '.join(looked)}")
