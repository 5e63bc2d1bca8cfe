"""The phases of a trial, by a clock of the test's own."""

import time

import pytest

from edge.measuring.status import MEASURING, READY, WAITING_FOR_DEVICE, WAITING_FOR_TRAINING, DevicePhase, DeviceStatus
from search.candidate.phase_timer import PhaseTimer
from search.evaluation import Phase

ARCHITECTURE, MEASURE_ARCHITECTURE = Phase.ARCHITECTURE, Phase.MEASURE_ARCHITECTURE
TRAIN, MEASURE, WAITING = Phase.TRAIN, Phase.MEASURE, Phase.WAITING


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timer(clock: Clock) -> PhaseTimer:
    return PhaseTimer(clock)


def stretches(timer: PhaseTimer) -> list[tuple[Phase, float, float]]:
    """Return phase, start and length of each stretch; the first one starts at 0."""
    first_s = timer.phases[0].start_s
    return [(each.phase, round(each.start_s - first_s, 3), each.seconds) for each in timer.phases]


def test_a_phase_within_another_interrupts_it(timer: PhaseTimer, clock: Clock) -> None:
    with timer.phase(ARCHITECTURE):
        clock.now_s += 1
        with timer.phase(MEASURE_ARCHITECTURE):
            clock.now_s += 2
    clock.now_s += 10  # between two phases
    with timer.phase(TRAIN):
        clock.now_s += 4
    assert stretches(timer) == [(ARCHITECTURE, 0, 1), (MEASURE_ARCHITECTURE, 1, 2), (TRAIN, 13, 4)]


def test_an_interrupted_phase_continues(timer: PhaseTimer, clock: Clock) -> None:
    with timer.phase(ARCHITECTURE):
        clock.now_s += 1
        with timer.phase(MEASURE_ARCHITECTURE):
            clock.now_s += 2
        clock.now_s += 3
    assert stretches(timer) == [(ARCHITECTURE, 0, 1), (MEASURE_ARCHITECTURE, 1, 2), (ARCHITECTURE, 3, 3)]


def test_it_waits_from_when_the_device_says_so_until_it_says_something_else(timer: PhaseTimer, clock: Clock) -> None:
    timer.on_status(WAITING_FOR_DEVICE)  # in no phase: nothing to interrupt
    with timer.phase(MEASURE):
        clock.now_s += 1
        for status in (DeviceStatus(DevicePhase.WAITING, "2 before it"), WAITING_FOR_TRAINING, MEASURING):
            timer.on_status(status)
            clock.now_s += 3
    with pytest.raises(OSError), timer.phase(MEASURE):
        timer.on_status(WAITING_FOR_DEVICE)
        raise OSError
    with timer.phase(TRAIN):
        clock.now_s += 1
    assert stretches(timer) == [(MEASURE, 0, 1), (WAITING, 1, 6), (MEASURE, 7, 3), (TRAIN, 10, 1)]


def test_only_the_phase_of_a_status_decides_and_not_its_text(timer: PhaseTimer, clock: Clock) -> None:
    with timer.phase(MEASURE):
        for phase in DevicePhase:
            timer.on_status(READY)
            timer.on_status(DeviceStatus(phase, "waiting for nothing"))
            clock.now_s += 1
    assert [each.seconds for each in timer.phases if each.phase is WAITING] == [1]


def test_a_trial_that_fails_shows_how_far_it_came(timer: PhaseTimer, clock: Clock) -> None:
    with pytest.raises(OSError), timer.phase(TRAIN):
        clock.now_s += 0.0004
        raise OSError
    assert stretches(timer) == [(TRAIN, 0, 0.0)], "a phase without length is there, since it was reached"


def test_starts_are_seconds_since_1970(clock: Clock) -> None:
    before_s = time.time()
    timer = PhaseTimer(clock)
    clock.now_s += 100
    with timer.phase(TRAIN):
        pass
    assert before_s + 99.9 < timer.phases[0].start_s < time.time() + 100.1
