"""A recorded log of a Smart Power 2, played again and again: what it gives comes from no instrument."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edge.errors import UsageError
from edge.meters.readings import (
    Power,
    Rate,
    Reading,
    is_plausible,
    measure_period,
    parse_smart_power_2,
    power_between,
)
from edge.meters.readings import shortest_window_s as shortest_for
from edge.meters.smartpower import SMART_POWER_2_SPAN_S

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time

_LEAST = 6


class ReplayMeter:
    """replay://FILE: the log begins when the meter is opened, and again as soon as it has ended.

    A line is `SECONDS VOLTS,AMPS,WATTS,WATTHOURS`: when it arrived, by any clock, and what arrived.
    """

    estimated = True

    def __init__(self, url: str, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._path = path
        self._clock = clock
        self._opened_s = 0.0
        self._readings: list[Reading] = []
        self._rate = Rate(1.0, SMART_POWER_2_SPAN_S)

    @property
    def shortest_window_s(self) -> float:
        """What a window must last at the rate of the log, in seconds."""
        return shortest_for(self._rate)

    def power(self, start_s: float, end_s: float) -> Power:
        """See `edge.meters.meter.Meter.power`."""
        if not self._readings:
            raise UsageError(f"{self.url} is not open", remedy="use it in a `with`")
        first_s = self._readings[0].time_s
        loop_s = self._readings[-1].time_s - first_s + self._rate.period_s
        loops = range(
            math.floor((start_s - self._opened_s) / loop_s), math.floor((end_s - self._opened_s) / loop_s) + 1
        )
        shifts_s = [self._opened_s + loop * loop_s - first_s for loop in loops]
        played = [
            Reading(r.time_s + shift_s, r.watts, r.volts, r.amps)
            for shift_s in shifts_s
            for r in self._readings
        ]
        inside = [reading for reading in played if start_s <= reading.time_s <= end_s]
        return power_between(inside, self._rate, start_s, end_s)

    def __enter__(self) -> "Self":
        self._readings = read_log(self._path)
        self._rate = Rate(measure_period([r.time_s for r in self._readings]), SMART_POWER_2_SPAN_S)
        self._opened_s = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._readings = []


def read_log(path: Path) -> list[Reading]:
    """Return the plausible readings of a log, 6 or more, in order. Other lines are left out, as on the wire.

    Raises UsageError for a file that cannot be read or holds fewer, or goes back in time.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(
            f"cannot read {path} ({error.strerror})",
            remedy="give a log of a Smart Power 2",
        ) from error
    readings: list[Reading] = []
    for number, line in enumerate(lines, start=1):
        stamp, _, rest = line.partition(b" ")
        sample = parse_smart_power_2(rest.strip())
        time_s = _seconds(stamp)
        if sample is None or time_s is None or not is_plausible(sample):
            continue
        if readings and time_s < readings[-1].time_s:
            raise UsageError(
                f"{path}, line {number}: {time_s:.3f} s comes after {readings[-1].time_s:.3f} s",
                remedy="sort the log",
            )
        readings.append(Reading(time_s, sample.watts, sample.volts, sample.amps))
    if len(readings) < _LEAST or readings[-1].time_s == readings[0].time_s:
        raise UsageError(
            f"{path} holds {len(readings)} readings, {_LEAST} with rising times are needed",
            remedy=(
                "a line is `SECONDS VOLTS,AMPS,WATTS,WATTHOURS`, for example `12.345 "
                "5.254,0.711,3.741,0.000`"
            ),
        )
    return readings


def _seconds(text: bytes) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
