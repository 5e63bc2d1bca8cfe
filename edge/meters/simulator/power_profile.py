"""The load of a simulated supply: it follows what the measuring processes of this machine do."""

import os
from collections.abc import Callable, Iterable
from typing import IO

import psutil

from edge.meters.simulator.supply import Profile

_POLL_S, _SCAN_S = 0.1, 0.25
_BUSY_SHARE = 0.15
"""Of one processor: a waiting process uses less now and then, a measuring one on a busy machine more."""


class Load:
    """The power of a machine on which the processes that `find` gives burn CPU or do not."""

    def __init__(
        self,
        find: Callable[[], Iterable[psutil.Process]],
        idle_w: float,
        busy_w: float,
        start_s: float,
        log: IO[str] | None = None,
    ) -> None:
        """`log` gets the power as it is played, a line `SECONDS WATTS` a step: it holds until the next line."""
        self._find = find
        self._idle_w = idle_w
        self._busy_w = busy_w
        self._log = log
        self._profile = Profile([])
        self._watts = -1.0
        self._used_s: dict[psutil.Process, float] = {}
        self._polled_s = self._scanned_s = start_s
        self.mean_w = self._profile.mean_w
        self._play(start_s, idle_w)

    @property
    def next_s(self) -> float:
        """The time at which `poll` has something to do next."""
        return self._polled_s + _POLL_S

    def poll(self, now_s: float) -> None:
        """Set the power from now on by how busy the processes were since the last call."""
        if now_s < self.next_s:
            return
        burned_s = 0.0
        for process, before_s in list(self._used_s.items()):
            used_s = _cpu_s(process)
            if used_s is None:
                del self._used_s[process]
            else:
                self._used_s[process] = used_s
                burned_s += used_s - before_s
        is_busy = burned_s > _BUSY_SHARE * (now_s - self._polled_s)
        self._play(now_s, self._busy_w if is_busy else self._idle_w)
        self._polled_s = now_s
        if now_s >= self._scanned_s + _SCAN_S:
            self._scanned_s = now_s
            self._scan()

    def _scan(self) -> None:
        for process in self._find():
            used_s = _cpu_s(process)
            if process not in self._used_s and used_s is not None:
                self._used_s[process] = used_s

    def finish(self, now_s: float) -> None:
        """Write the last line of the log."""
        if self._log is not None:
            print(f"{now_s:.6f} {self._watts:.6f}", file=self._log, flush=True)

    def _play(self, now_s: float, watts: float) -> None:
        if watts != self._watts:
            self._watts = watts
            self._profile.add(now_s, watts)
            self.finish(now_s)


def named(text: str) -> Callable[[], Iterable[psutil.Process]]:
    """Return what finds the processes with `text` in an argument, other than this one."""

    def find() -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter()
            if process.pid != os.getpid() and any(text in argument for argument in _command(process))
        ]

    return find


def descendants(pid: int) -> Callable[[], Iterable[psutil.Process]]:
    """Return what finds the processes below another one."""

    def find() -> list[psutil.Process]:
        try:
            below: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
        except psutil.Error:
            return []
        return below

    return find


def _command(process: psutil.Process) -> list[str]:
    try:
        arguments: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return arguments


def _cpu_s(process: psutil.Process) -> float | None:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)
