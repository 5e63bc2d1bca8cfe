"""The energy counters of Intel and AMD processors under Linux: the processor package, not the whole machine."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edge.errors import InvalidMeasurementError, UnavailableError, UsageError
from edge.meters.readings import Power

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time

POWERCAP = Path("/sys/class/powercap")
PERIOD_S = 0.01
# A busy machine may give the reader no turn for some 10 ms, at both ends of a window.
SHORTEST_WINDOW_S = 0.5
_LONGEST_READ_S = 0.005
# The share of a window that the samples inside it must span.
_LEAST_COVER = 0.9
# Half an hour: one sample weighs little.
_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class EnergySample:
    """The energy that all packages have used since some moment, at a time of CLOCK_MONOTONIC."""

    time_s: float
    joules: float


@dataclass
class Counter:
    """One package's counter: `energy_uj` starts again from 0 behind `range_uj`."""

    path: Path
    range_uj: int
    last_uj: int
    total_uj: int = 0

    def advance(self, now_uj: int) -> int:
        """Takes a new state and gives the microjoules used since the first one."""
        self.total_uj += now_uj - self.last_uj + (self.range_uj + 1 if now_uj < self.last_uj else 0)
        self.last_uj = now_uj
        return self.total_uj


class RaplMeter:
    """rapl://: a thread reads the counters 100 times a second. `root` holds the folders intel-rapl:0 ..."""

    estimated = False
    shortest_window_s = SHORTEST_WINDOW_S

    def __init__(
        self,
        url: str = "rapl://",
        root: Path = POWERCAP,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._root = root
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._samples: deque[EnergySample] = deque(maxlen=_KEPT)
        self._fault: UnavailableError | None = None

    def power(self, start_s: float, end_s: float) -> Power:
        """See `edge.meters.meter.Meter.power`."""
        if self._thread is None:
            raise UsageError(f"{self.url} is not open", remedy="use it in a `with`")
        with self._lock:
            if self._fault is not None:
                raise UnavailableError(self._fault.message, remedy=self._fault.remedy) from self._fault
            if not self._thread.is_alive():
                raise UnavailableError(
                    f"the reader of {self.url} has failed",
                    remedy="report what it printed",
                )
            samples = list(self._samples)
        if end_s - start_s < self.shortest_window_s - 1e-9:
            raise InvalidMeasurementError(
                f"a window of {end_s - start_s:.3f} s is too short for the meter's rate, one "
                f"reading every {PERIOD_S:g} s",
                remedy=f"give it {self.shortest_window_s:.2f} s or more",
            )
        return power_of(samples, start_s, end_s)

    def __enter__(self) -> "Self":
        counters = open_counters(self._root)
        self._stop.clear()
        self._fault = None
        self._samples.clear()
        self._take(counters)
        self._thread = threading.Thread(target=self._run, args=(counters,), name=self.url, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, counters: Sequence[Counter]) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                self._take(counters)
            except UnavailableError as error:
                with self._lock:
                    self._fault = error
                return

    def _take(self, counters: Sequence[Counter]) -> None:
        before_s = self._clock()
        used_uj = sum(counter.advance(_read_number(counter.path)) for counter in counters)
        after_s = self._clock()
        if after_s - before_s > _LONGEST_READ_S:
            # Another program had its turn in between: nobody knows when the counters were read.
            return
        with self._lock:
            self._samples.append(EnergySample((before_s + after_s) / 2, used_uj / 1e6))


def open_counters(root: Path) -> list[Counter]:
    """Return the counters of all processor packages. Raises UnavailableError with the remedy."""
    # Subzones such as intel-rapl:0:0 are part of a package, and psys holds the packages once more.
    zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    packages = [zone for zone in zones if _read_text(zone / "name").startswith("package")]
    if not packages:
        raise UnavailableError(
            f"no intel-rapl:* of a processor package in {root}",
            remedy="this processor, kernel or virtual machine has none, use another meter",
        )
    return [
        Counter(
            zone / "energy_uj", _read_number(zone / "max_energy_range_uj"), _read_number(zone / "energy_uj")
        )
        for zone in packages
    ]


def power_of(samples: Sequence[EnergySample], start_s: float, end_s: float) -> Power:
    """Energy used between the first and the last sample inside a window, over the time between them.

    `max_w` is the largest power from one sample to the next; `readings` counts these. Raises
    InvalidMeasurementError when the samples do not span 90 % of the window.
    """
    inside = [sample for sample in samples if start_s <= sample.time_s <= end_s]
    covered_s = inside[-1].time_s - inside[0].time_s if inside else 0.0
    if covered_s < _LEAST_COVER * (end_s - start_s):
        raise InvalidMeasurementError(
            f"gappy readings: they span {covered_s:.3f} s of a window of {end_s - start_s:.3f} s, "
            f"the limit is {_LEAST_COVER:.0%}",
            remedy="close other programs and measure again",
        )
    steps_w = [(b.joules - a.joules) / (b.time_s - a.time_s) for a, b in pairwise(inside)]
    return Power((inside[-1].joules - inside[0].joules) / covered_s, max(steps_w), len(steps_w))


def _read_number(path: Path) -> int:
    text = _read_text(path)
    try:
        return int(text)
    except ValueError as error:
        raise UnavailableError(
            f"{path} holds {text[:40]!r}, not a number",
            remedy="use another meter",
        ) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except PermissionError as error:
        raise UnavailableError(
            f"may not read {path}",
            remedy=f"allow it until the next boot with `sudo chmod a+r {path}` or run as root",
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"cannot read {path} ({error.strerror})",
            remedy="use another meter",
        ) from error
