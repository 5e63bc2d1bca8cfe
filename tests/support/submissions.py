"""Submissions to damage, and what is then found."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from compress.datasets.load import load
from edge.diagnostics import WRONG, Finding
from search.submission.submit import check_zip

Files = dict[str, bytes]


def rewrite(path: Path, change: Callable[[Files], None]) -> None:
    """The zip again after a change of its files."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in files.items():
            archive.writestr(name, value)


def found(path: Path) -> list[Finding]:
    """What `thrones submit --check` finds, in this process, on the images of squares.npz beside the zip."""
    return list(check_zip(path, path.parent / "runs", lambda _: load(str(path.parent / "squares.npz"))))


def wrong(path: Path) -> dict[str, str]:
    """What is wrong, by what it is about."""
    return {each.what: f"{each.found}, {each.remedy}" for each in found(path) if each.verdict == WRONG}
