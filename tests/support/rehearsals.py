"""Rehearsals that are over in seconds: real workers, storages and fake boards, nothing trained."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna

from search.config import StudyConfig, load_config
from search.storage.study_state import load_study


def write_rehearsal(folder: Path, *, trials: int, train_s: float = 0.0, device: str = "fake://one") -> Path:
    """A study file."""
    path = folder / "rehearsal.toml"
    path.write_text(
        f"""road = "latency"
device = "{device}"
[budget]
trials = {trials}
minutes = 20
[space]
epochs = [4, 4]
[dry_run]
train_s = {train_s}
""",
        encoding="utf-8",
    )
    return path


def start(*arguments: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """The command as a user gives it, in `folder`; it goes on by itself. Its lines are both in `stdout`."""
    return subprocess.Popen(
        [sys.executable, "-m", "search", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read(folder: Path, storage: str | None = None) -> StudyConfig:
    """The study in `folder`."""
    config = load_config(folder / "rehearsal.toml", folder / "runs")
    return config.model_copy(update={"storage": storage})


def trials_of(config: StudyConfig) -> list[optuna.trial.FrozenTrial]:
    """Its trials now."""
    return load_study(config).get_trials(deepcopy=False)


def until(there: Callable[[], object], seconds: float = 120) -> None:
    """Waits for something that another process does."""
    until_s = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until_s, "it did not happen"
        time.sleep(0.1)


def workers_of(parent: subprocess.Popen[str]) -> list[int]:
    """The process ids of the workers that a `run` has started."""
    listed = subprocess.run(["pgrep", "-P", str(parent.pid)], capture_output=True, text=True).stdout.split()
    return [pid for pid in map(int, listed) if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def kill(pid: int) -> None:
    """As the kernel does when memory runs out."""
    os.kill(pid, signal.SIGKILL)
