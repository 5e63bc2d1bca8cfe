"""The phases of a trial, by a clock of the test's own."""

from collections.abc import Iterator

import optuna
import pytest

from edge.measuring.status import MEASURING, WAITING_FOR_DEVICE, WAITING_FOR_TRAINING, DevicePhase, DeviceStatus
from search.candidate.phase_timer import Stopwatch


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trial() -> Iterator[optuna.Trial]:
    yield optuna.create_study().ask()


def told(trial: optuna.Trial) -> list[tuple[str, float, float]]:
    """The phases, their starts from the first one's."""
    phases = trial.user_attrs["phases"]
    return [(name, round(start - phases[0][1], 3), seconds) for name, start, seconds in phases]


def test_a_phase_within_another_interrupts_it(trial: optuna.Trial, clock: Clock) -> None:
    with Stopwatch(trial, clock) as stopwatch:
        with stopwatch.phase("structure"):
            clock.now_s += 1
            with stopwatch.phase("measure structure"):
                clock.now_s += 2
        clock.now_s += 10  # between two phases
        with stopwatch.phase("train"):
            clock.now_s += 4
    assert told(trial) == [("structure", 0, 1), ("measure structure", 1, 2), ("train", 13, 4)]


def test_waiting_lasts_from_the_devices_status_to_its_next_one(trial: optuna.Trial, clock: Clock) -> None:
    with Stopwatch(trial, clock) as stopwatch:
        stopwatch.on_status(WAITING_FOR_TRAINING)  # in no phase: nothing to interrupt
        with stopwatch.phase("measure"):
            clock.now_s += 1
            for status in (WAITING_FOR_DEVICE, WAITING_FOR_TRAINING, MEASURING):
                stopwatch.on_status(status)
                clock.now_s += 3
        with pytest.raises(OSError), stopwatch.phase("measure"):
            stopwatch.on_status(WAITING_FOR_DEVICE)
            raise OSError
        with stopwatch.phase("train"):
            clock.now_s += 1
    assert told(trial) == [("measure", 0, 1), ("waiting", 1, 6), ("measure", 7, 3), ("train", 10, 1)]


def test_the_text_of_a_status_decides_nothing(trial: optuna.Trial, clock: Clock) -> None:
    with Stopwatch(trial, clock) as stopwatch, stopwatch.phase("measure"):
        for status in (
            DeviceStatus(DevicePhase.MEASURING, "waiting for nothing"),
            DeviceStatus(DevicePhase.WAITING, "please hold"),
        ):
            stopwatch.on_status(status)
            clock.now_s += 1
    assert told(trial) == [("measure", 0, 1), ("waiting", 1, 1)]


def test_a_trial_that_fails_tells_how_far_it_came(trial: optuna.Trial, clock: Clock) -> None:
    with pytest.raises(OSError), Stopwatch(trial, clock) as stopwatch, stopwatch.phase("train"):
        clock.now_s += 0.0004
        raise OSError
    assert told(trial) == [("train", 0, 0.0)], "a phase without length is there, since it was come to"
