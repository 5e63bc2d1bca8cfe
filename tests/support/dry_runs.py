"""Dry runs that are over in seconds: real workers, storages and fake devices, nothing trained."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from search.config import StudyConfig, load_config
from search.storage.open_storage import load_study
from search.storage.trial_record import TrialRecord, read_trials


def write_dry_run(folder: Path, *, trials: int, train_s: float = 0.0, device: str = "fake://one") -> Path:
    """Write a study file; return it."""
    path = folder / "dry_run.toml"
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
    """Start the command as a user gives it, in `folder`, and return at once. Its lines are both in `stdout`."""
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
    """Return the study in `folder`."""
    config = load_config(folder / "dry_run.toml", folder / "runs")
    return config.model_copy(update={"storage": storage})


def records_of(config: StudyConfig) -> list[TrialRecord]:
    """Return the records of its trials now."""
    return read_trials(load_study(config))


def until(there: Callable[[], object], seconds: float = 120) -> None:
    """Wait for something that another process does."""
    until_s = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until_s, "it did not happen"
        time.sleep(0.1)


def workers_of(parent: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of the workers that a `run` has started."""
    listed = subprocess.run(["pgrep", "-P", str(parent.pid)], capture_output=True, text=True).stdout.split()
    return [pid for pid in map(int, listed) if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def kill(pid: int) -> None:
    """Kill a process as the kernel does when memory runs out."""
    os.kill(pid, signal.SIGKILL)
