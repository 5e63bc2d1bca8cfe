"""Where the time of a trial goes, phase by phase."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge.measuring.status import DevicePhase, DeviceStatus
from search.evaluation import Phase, PhaseTime


class PhaseTimer:
    """Times the phases of one trial, one after the other; a phase within another one interrupts it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since_s = clock()
        self._epoch_s = time.time() - self._since_s
        self._running: list[Phase] = []  # the phases that have begun, the innermost last
        self._phases: list[PhaseTime] = []

    @property
    def phases(self) -> tuple[PhaseTime, ...]:
        """Return the stretches that have ended, in their order."""
        return tuple(self._phases)

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Count what happens in the `with` as this phase."""
        depth = len(self._running)
        self._switch([*self._running, phase])
        try:
            yield
        finally:
            self._switch(self._running[:depth])

    def on_status(self, status: DeviceStatus) -> None:
        """Count as waiting from the moment the device waits for another user until it does something else."""
        is_waiting = self._running[-1:] == [Phase.WAITING]
        waits = status.phase is DevicePhase.WAITING
        if waits and self._running and not is_waiting:
            self._switch([*self._running, Phase.WAITING])
        elif is_waiting and not waits:
            self._switch(self._running[:-1])

    def _switch(self, running: list[Phase]) -> None:
        now_s = self._clock()
        if self._running:
            self._end_stretch(self._running[-1], round(now_s - self._since_s, 3))
        self._running = running
        self._since_s = now_s

    def _end_stretch(self, phase: Phase, seconds: float) -> None:
        is_known = any(each.phase is phase for each in self._phases)
        if seconds > 0 or not is_known:
            self._phases.append(PhaseTime(phase, round(self._epoch_s + self._since_s, 3), seconds))
