"""Fixtures that several files share, and the option that names a device."""

import fcntl
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import squares
from hasty import ANY_SPEED, HASTY
from hypothesis import settings

from edge.measuring.plan import PLANS

if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: TensorFlow's threads would only wait for each other
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# The same examples every time, and no limit to one on a busy machine.
settings.register_profile("thrones", derandomize=True, deadline=None)
settings.load_profile("thrones")


@pytest.fixture(autouse=True)
def _any_speed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not make a study that several tests share one of another machine."""
    if request.module.__name__ != "test_calibration":
        monkeypatch.setattr("search.candidate.calibration.TOLERANCE", ANY_SPEED)


@pytest.fixture
def hasty_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for a moment only, and accept any spread."""
    for name, plan in HASTY.items():
        monkeypatch.setitem(PLANS, name, plan)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--device URL`: see tests/edge/test_device_url.py."""
    parser.addoption("--device", metavar="URL", help="run the contract of every device against this one, too")


@dataclass(frozen=True)
class Finished:
    """A folder with squares.npz, squares.toml and runs/, and how `thrones run squares.toml` ended there."""

    folder: Path
    run: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A finished study. It is for reading: a test that changes something takes `squares_copy`.

    Where several processes share the suite, the first that asks makes it for all.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "finished"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = folder / "run.json"
        if not ended.exists():
            ended.write_text(json.dumps(vars(_finish(folder / "squares"))))
        return Finished(folder / "squares", subprocess.CompletedProcess(**json.loads(ended.read_text())))


def _finish(folder: Path) -> "subprocess.CompletedProcess[str]":
    folder.mkdir()
    squares.write_images(folder / "squares.npz")
    # The hopeless one first: no other is there yet that it would have to be faster than.
    starts = (squares.HOPELESS, squares.SMALL, squares.SMALLER, squares.SLOW)
    study = squares.write_study(folder / "squares.toml", *starts, trials=len(starts))
    return squares.thrones("run", study.name, folder=folder)


@pytest.fixture(scope="session")
def submitted(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a replayed study and the M3_7.zip made of it. For reading."""
    folder = Path(shutil.copytree(finished.folder, tmp_path_factory.mktemp("submitted") / "squares"))
    (folder / "studies").mkdir()
    shutil.move(folder / "squares.toml", folder / "studies" / "squares.toml")
    replayed = squares.thrones("replay", "squares", "--plan", "whole", "--no-rebuild", folder=folder)
    assert replayed.returncode == 0, replayed.stderr
    ended = squares.thrones(
        "submit", "m3", "--road", "squares", "--team", "7", "--members", "Ann Arbor, Bob Dylan", folder=folder
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("wrote M3_7.zip\n")
    return folder


@pytest.fixture
def squares_copy(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the finished study's folder."""
    return Path(shutil.copytree(finished.folder, tmp_path / "squares"))


@pytest.fixture(scope="module")
def courses(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of a checkpoint of the module's `network`, written as the course wrote its own."""
    prefix = tmp_path_factory.mktemp("courses") / "mbnv1_tf.ckpt"
    network.save_weights(prefix)
    return prefix


@pytest.fixture
def copied(courses: Path, tmp_path: Path) -> Path:
    """The same checkpoint, to be damaged."""
    return Path(shutil.copytree(courses.parent, tmp_path / "copied")) / courses.name
