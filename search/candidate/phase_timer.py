"""Where a trial's time goes, phase by phase."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import optuna

from edge.measuring.status import DevicePhase, DeviceStatus

WAITING = "waiting"


class Stopwatch:
    """The phases of a trial, one after the other: a phase within another one interrupts it. Use it in a `with`.

    Written into the trial when it ends, whichever way, and at once, since a storage may be far away: "phases" is a list
    of [name, start in seconds since 1970, seconds].
    """

    def __init__(self, trial: optuna.Trial, clock: Callable[[], float] = time.monotonic) -> None:
        self._trial, self._clock = trial, clock
        self._since_s = clock()
        self._epoch_s = time.time() - self._since_s
        self._running: list[str] = []  # the phases that have begun, the innermost last
        self._phases: list[tuple[str, float, float]] = []

    def __enter__(self) -> "Stopwatch":
        return self

    def __exit__(self, *_: object) -> None:
        if self._phases:
            self._trial.set_user_attr("phases", self._phases)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens in the `with` as this phase."""
        depth = len(self._running)
        self._go_on([*self._running, name])
        try:
            yield
        finally:
            self._go_on(self._running[:depth])

    def on_status(self, status: DeviceStatus) -> None:
        """Count the time from a status of waiting to the next other one as WAITING, within a phase."""
        if not self._running:
            return
        is_waiting = self._running[-1] == WAITING
        must_wait = status.phase is DevicePhase.WAITING
        if must_wait and not is_waiting:
            self._go_on([*self._running, WAITING])
        elif is_waiting and not must_wait:
            self._go_on(self._running[:-1])

    def _go_on(self, running: list[str]) -> None:
        now_s = self._clock()
        if self._running:
            name, seconds = self._running[-1], round(now_s - self._since_s, 3)
            if seconds > 0 or name not in [known for known, *_ in self._phases]:
                self._phases.append((name, round(self._epoch_s + self._since_s, 3), seconds))
        self._running, self._since_s = running, now_s
