"""Training holds still while a model is measured on the same machine, and nobody waits for the dead."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from edge.measuring.training_lock import TrainingPlace, training_held

TRAINER = """
    import sys, time
    from edge.measuring.training_lock import TrainingPlace
    place, path = TrainingPlace(), sys.argv[1]
    while True:
        with place:
            for _ in range(2):
                with open(path, "a") as file:
                    file.write(f"{time.monotonic()} ")
                time.sleep(0.02)
"""


@pytest.fixture
def trainers(tmp_path: Path):
    """Two processes that are always in the middle of a step, and note when."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(TRAINER)]
    steps = [tmp_path / "one", tmp_path / "other"]
    running = [subprocess.Popen([*command, str(path)], env=environment) for path in steps]
    try:
        while not all(path.exists() for path in steps):
            time.sleep(0.01)
        yield running, steps
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def steps_between(start_s: float, end_s: float, paths: list[Path]) -> int:
    noted = [float(word) for path in paths for word in path.read_text().split()]
    return sum(start_s < when < end_s for when in noted)


def test_no_step_is_taken_while_something_is_measured_and_trainings_cannot_keep_it_out(trainers) -> None:
    _, paths = trainers
    for _ in range(3):
        asked_s = time.monotonic()
        with training_held(time.sleep):
            start_s = time.monotonic()
            time.sleep(0.2)
            end_s = time.monotonic()
        assert start_s - asked_s < 5.0
        assert steps_between(start_s, end_s, paths) == 0
        time.sleep(0.3)
        assert steps_between(end_s, time.monotonic(), paths) > 0  # and then they go on


def test_a_killed_training_is_not_waited_for(trainers) -> None:
    running, _ = trainers
    running[0].send_signal(signal.SIGSTOP)  # in the middle of a step
    running[1].kill()
    waited: list[float] = []

    def rest(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 5:
            running[0].kill()
        time.sleep(seconds)

    with training_held(rest):
        assert len(waited) >= 5


def test_one_process_may_train_and_then_measure() -> None:
    place = TrainingPlace()
    for _ in range(2):
        with place:
            pass
        with training_held(lambda seconds: pytest.fail("there is nobody to wait for")):
            pass
