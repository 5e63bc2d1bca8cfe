"""Ctrl-C and kill -9 in the middle of a training: the same command resumes, and only that one trial's work is lost."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import squares
from optuna.trial import TrialState

from search.evaluation import EndReason
from search.storage.open_storage import load_study
from search.storage.trial_record import TrialRecord, read_trials

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


def records_of(study: Path) -> list[TrialRecord]:
    """Return the records of the study's trials now."""
    return read_trials(load_study(squares.read(study)))


def resume(study: Path) -> list[TrialRecord]:
    """Start again, with so little time that the endless training is pruned after an epoch."""
    squares.write_study(study, squares.SMALL, ENDLESS, trials=2, epochs=5000, minutes=2)
    ended = squares.thrones("run", study.name, folder=study.parent)
    assert (ended.returncode, ended.stderr) == (0, "")
    return records_of(study)


def check_retried(records: list[TrialRecord], complete: TrialRecord) -> None:
    """Check that the first trial is as it was, the second failed, and its candidate was tried again and no more."""
    first, lost, again = records
    assert first == complete
    assert first.state is TrialState.COMPLETE
    assert lost.state is TrialState.FAIL
    assert again.params == lost.params
    assert again.state is TrialState.PRUNED
    assert again.end_reason is EndReason.OUT_OF_TIME
    assert again.message.startswith("out of time: ")


@pytest.mark.slow
def test_ctrl_c_ends_with_one_line_and_the_same_command_resumes(study: Path, run: subprocess.Popen[str]) -> None:
    children = psutil.Process(run.pid).children(recursive=True)
    assert children  # the converter at least
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the children, too
    errors = run.communicate(timeout=LIMIT_S)[1]
    assert (run.returncode, errors) == (130, "thrones: stopped; run the same command to resume\n")
    wait_until(lambda: not any(child.is_running() for child in children))
    complete, interrupted, waiting = records_of(study)
    assert interrupted.state is TrialState.FAIL
    assert interrupted.end_reason is EndReason.INTERRUPTED
    assert interrupted.message.startswith("interrupted")
    assert waiting.state is TrialState.WAITING
    check_retried(resume(study), complete)


@pytest.mark.slow
def test_a_second_run_of_the_same_study_is_refused(study: Path, run: subprocess.Popen[str]) -> None:
    assert "study.lock is held by another run of this study; wait for it" in squares.refused(
        "run", study.name, folder=study.parent
    )
    assert run.poll() is None


@pytest.mark.slow
def test_kill_9_takes_the_children_along_and_the_same_command_resumes(study: Path, run: subprocess.Popen[str]) -> None:
    children = psutil.Process(run.pid).children(recursive=True)
    assert children
    run.kill()
    run.communicate(timeout=LIMIT_S)
    assert run.returncode == -signal.SIGKILL
    wait_until(lambda: not any(child.is_running() for child in children))
    complete, running = records_of(study)
    assert running.state is TrialState.RUNNING
    check_retried(resume(study), complete)
