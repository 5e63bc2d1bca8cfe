"""Fixtures that several files share, and the option that names a device."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import squares
from hypothesis import settings

# The same examples every time, and no limit to one on a busy machine.
settings.register_profile("thrones", derandomize=True, deadline=None)
settings.load_profile("thrones")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--device URL`: see tests/test_edge_device_url.py."""
    parser.addoption("--device", metavar="URL", help="run the contract of every device against this one, too")


@dataclass(frozen=True)
class Finished:
    """A folder with squares.npz, squares.toml and runs/, and how `thrones run squares.toml` ended there."""

    folder: Path
    run: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A finished study. It is for reading: a test that changes something takes `squares_copy`."""
    folder = tmp_path_factory.mktemp("squares")
    squares.write_images(folder / "squares.npz")
    # The hopeless one first: no other is there yet that it would have to be faster than.
    starts = (squares.HOPELESS, squares.SMALL, squares.SMALLER, squares.SLOW)
    study = squares.write_study(folder / "squares.toml", *starts, trials=len(starts))
    return Finished(folder, squares.thrones("run", study.name, folder=folder))


@pytest.fixture
def squares_copy(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the finished study's folder."""
    return Path(shutil.copytree(finished.folder, tmp_path / "squares"))
