"""The source in a submission: complete, and installed as the repository is."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest
from paths import ROOT

from search.submission.pack import PACKAGES, PROJECT, code_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Return the source as it is packed on a machine without git."""
    failed = subprocess.CompletedProcess[bytes](["git"], returncode=128, stdout=b"", stderr=b"")
    monkeypatch.setattr("search.submission.pack.subprocess.run", lambda *_, **__: failed)
    return code_files()


def installed(project: Mapping[str, Any], files: list[PurePosixPath]) -> set[PurePosixPath]:
    """Return the files that setuptools installs by `project`: Python files and package data."""
    patterns = project["tool"]["setuptools"]["package-data"]
    return {
        path
        for path in files
        if path.suffix == ".py"
        or any(path.relative_to(path.parts[0]).match(pattern) for pattern in patterns.get(path.parts[0], ()))
    }


def test_the_packed_project_is_that_of_the_repository() -> None:
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packed = tomllib.loads(PROJECT.format(version="1.2.3", dependencies=["numpy>=1"]))
    assert packed["build-system"] == ours["build-system"]
    assert packed["tool"]["setuptools"] == ours["tool"]["setuptools"]
    for key in ("name", "requires-python", "scripts"):
        assert packed["project"][key] == ours["project"][key]
    assert (packed["project"]["version"], packed["project"]["dependencies"]) == ("1.2.3", ["numpy>=1"])


def test_without_git_the_packages_are_packed_with_all_that_they_need_installed(packed: dict[str, bytes]) -> None:
    project = tomllib.loads(packed.pop("code/pyproject.toml").decode())
    needs = project["project"]["dependencies"]
    assert {"numpy", "optuna", "tensorflow", "tomli"} <= {re.split("[^a-z-]", need)[0] for need in needs}
    assert not any("extra" in need for need in needs)
    files = [PurePosixPath(name).relative_to("code") for name in packed]
    needed = {
        PurePosixPath(path.relative_to(ROOT).as_posix())
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    for name in ("search/runner/models/dry_run.tflite", "search/report/pages/study.html"):
        assert PurePosixPath(name) in needed
    assert set(files) == needed
    assert installed(project, files) == {path for path in needed if path.suffix != ".md"}, "all but notes for readers"
    assert {f"{package}*" for package in PACKAGES} == set(project["tool"]["setuptools"]["packages"]["find"]["include"])
    model = ROOT / "search" / "runner" / "models" / "dry_run.tflite"
    assert packed["code/search/runner/models/dry_run.tflite"] == model.read_bytes()


def test_every_folder_with_code_is_a_package() -> None:
    """setuptools finds only folders with an __init__.py; one without it would not be installed."""
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
