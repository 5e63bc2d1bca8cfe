"""Ctrl-C and kill -9 in the middle of a training: the same command resumes, and only that one trial's work is lost."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import psutil
import pytest
import squares

from search.storage.study_state import load_study

ENDLESS = squares.SMALLER + "epochs = 5000\n"
LIMIT_S = 300


@pytest.fixture
def study(squares_copy: Path) -> Path:
    """A study whose first trial comes from the cache and whose second would train for hours."""
    starts = (squares.SMALL, ENDLESS)
    return squares.write_study(squares_copy / "endless.toml", *starts, trials=2, epochs=5000, minutes=6000)


@pytest.fixture
def run(study: Path) -> Iterator[subprocess.Popen[str]]:
    """The study as it runs, in the training of its second trial, in a session of its own."""
    process = subprocess.Popen(
        [*squares.COMMAND, "run", study.name],
        cwd=study.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    database = study.parent / "runs" / "endless" / "study.db"
    epochs = "select count(*) from trial_intermediate_values join trials using (trial_id) where number = 1"

    def trains() -> bool:
        assert process.poll() is None, process.communicate()
        try:
            with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
                return bool(connection.execute(epochs).fetchone()[0])
        except sqlite3.OperationalError:  # it has not been made yet
            return False

    try:
        wait_until(trains)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT_S} s"
        time.sleep(0.05)


def resume(study: Path) -> list[optuna.trial.FrozenTrial]:
    """Start again, with so little time that the endless training is pruned after an epoch."""
    squares.write_study(study, squares.SMALL, ENDLESS, trials=2, epochs=5000, minutes=2)
    ended = squares.thrones("run", study.name, folder=study.parent)
    assert (ended.returncode, ended.stderr) == (0, "")
    return load_study(squares.read(study)).get_trials()


def check_retried(trials: list[optuna.trial.FrozenTrial], complete: optuna.trial.FrozenTrial) -> None:
    """The first trial is as it was, the second failed, and its candidate was tried a second time and no more."""
    first, lost, again = trials
    assert first == complete
    assert first.state.name == "COMPLETE"
    assert lost.state.name == "FAIL"
    assert again.params == lost.params
    assert again.state.name == "PRUNED"
    assert again.user_attrs["reason"].startswith("out of time: ")


def test_ctrl_c_ends_with_one_line_and_the_same_command_resumes(study: Path, run: subprocess.Popen[str]) -> None:
    children = psutil.Process(run.pid).children(recursive=True)
    assert children  # the converter at least
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the children, too
    errors = run.communicate(timeout=LIMIT_S)[1]
    assert (run.returncode, errors) == (130, "thrones: stopped; run the same command to resume\n")
    wait_until(lambda: not any(child.is_running() for child in children))
    complete, interrupted, waiting = load_study(squares.read(study)).get_trials()
    assert interrupted.state.name == "FAIL"
    assert interrupted.user_attrs["reason"].startswith("interrupted")
    assert waiting.state.name == "WAITING"
    check_retried(resume(study), complete)


def test_a_second_run_of_the_same_study_is_refused(study: Path, run: subprocess.Popen[str]) -> None:
    assert "study.lock is held by another run of this study; wait for it" in squares.refused(
        "run", study.name, folder=study.parent
    )
    assert run.poll() is None


def test_kill_9_takes_the_children_along_and_the_same_command_resumes(study: Path, run: subprocess.Popen[str]) -> None:
    children = psutil.Process(run.pid).children(recursive=True)
    assert children
    run.kill()
    run.communicate(timeout=LIMIT_S)
    assert run.returncode == -signal.SIGKILL
    wait_until(lambda: not any(child.is_running() for child in children))
    complete, running = load_study(squares.read(study)).get_trials()
    assert running.state.name == "RUNNING"
    check_retried(resume(study), complete)
