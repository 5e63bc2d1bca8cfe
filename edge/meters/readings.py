"""What a power meter sends and what it is worth: bytes in, readings out, power over a window. No port, no clock.

Everything about the Smart Power 2 here was read from its firmware, its data sheet and logs of real ones.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edge.errors import InvalidMeasurementError

# A line reaches the reader 30 to 50 ms late, now more, now less; the tick itself is exact.
ARRIVAL_JITTER_S = 0.05
LEAST_READINGS = 5
# Two lines lost in a row happen once in 10,000 where one in a hundred is lost; three are a hole.
_HOLE_PERIODS = 3.5
_STRIDE = 20

# No Smart Power gives more; what a failed read of its sensor prints (81.919 V, 250.139 W) lies above.
_MAX_VOLTS, _MAX_AMPS, _MAX_WATTS = 30.0, 5.0, 60.0
# The registers are read one after the other, so that watts and volts x amps differ by up to 2.5 %.
_MISMATCH, _LEAST_MISMATCH_W = 0.03, 0.05

_MAX_LINE = 128
_NUMBER = rb"(\d{1,3}\.\d{3})"
# Watt-hours grow longer than three digits in weeks of counting; they are not used.
_STOCK = re.compile(_NUMBER + b"," + _NUMBER + b"," + _NUMBER + rb",\d{1,7}\.\d{3}")
_YTRIKOZ_SERIAL = re.compile(rb"(\d{1,3}\.\d\d)V +(?:(\d{1,2}\.\d\d)A|(\d{1,3})mA) +(\d{1,3}\.\d\d)W")
_YTRIKOZ_TCP = re.compile(
    rb'\{"v":' + _NUMBER + rb',"i":' + _NUMBER + rb',"p":' + _NUMBER + rb',"wh":\d{1,7}\.\d{6}\}'
)
_CHANNEL_3 = rb"(\d{5}),(\d{4}),(\d{5}),\d,[0-9a-f]{2},"
_SMART_POWER_3 = re.compile(
    rb"\d{10},\d{5},\d{4},\d{5},\d," + _CHANNEL_3 + _CHANNEL_3 + rb"([0-9a-f]{2}),([0-9a-f]{2})"
)
_SMART_POWER_3_SUMMED = 74


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a meter. It says nothing of the time."""

    watts: float
    volts: float
    amps: float


@dataclass(frozen=True, slots=True)
class Reading:
    """A sample and when it arrived, in seconds of CLOCK_MONOTONIC."""

    time_s: float
    watts: float
    volts: float
    amps: float


@dataclass(frozen=True)
class Power:
    """Mean and largest reading of a stretch of time in watts, and how many there were (0: estimated)."""

    mean_w: float
    max_w: float
    readings: int


@dataclass(frozen=True)
class Rate:
    """A reading comes every `period_s` seconds and speaks of no more than the `span_s` before its arrival."""

    period_s: float
    span_s: float


def shortest_window_s(rate: Rate) -> float:
    """Return how long a window must be to hold 5 whole readings, wherever the meter's tick falls."""
    return rate.span_s + LEAST_READINGS * rate.period_s + ARRIVAL_JITTER_S


def power_between(readings: Sequence[Reading], rate: Rate, start_s: float, end_s: float) -> Power:
    """Mean and maximum over the readings, given in order of arrival, that speak of nothing outside a window.

    A reading counts when it was taken before `end_s` and its span began after `start_s`; lines that arrive
    together are first put back to when they were taken, see `taken_at`. Raises InvalidMeasurementError
    - when the window is shorter than `shortest_window_s`: too short for the meter's rate, nothing is guessed;
    - when the readings are gappy: none for 3.5 periods (and the jitter) anywhere in the window, its edges
      included, or more missing than one and one in twenty. One lost line in a hundred passes, a hole does not.
    """
    length_s, needed_s = end_s - start_s, shortest_window_s(rate)
    if length_s < needed_s - 1e-9:
        raise InvalidMeasurementError(
            f"a window of {length_s:.2f} s is too short for the meter's rate, one reading every "
            f"{rate.period_s:.3g} s",
            remedy=f"give it {needed_s:.2f} s or more",
        )
    first_s = start_s + rate.span_s
    times_s = taken_at([reading.time_s for reading in readings], rate.period_s)
    inside = [pair for pair in zip(times_s, readings, strict=True) if first_s <= pair[0] <= end_s]

    hole_s = max(
        after - before for before, after in pairwise([first_s, *(time for time, _ in inside), end_s])
    )
    hole_limit_s = _HOLE_PERIODS * rate.period_s + ARRIVAL_JITTER_S
    if hole_s > hole_limit_s:
        raise InvalidMeasurementError(
            f"gappy readings: none for {hole_s:.2f} s inside a window, the limit is "
            f"{hole_limit_s:.2f} s",
            remedy="check the meter's cable or its Wi-Fi and measure again",
        )
    due = int((end_s - first_s) / rate.period_s)
    least = due - allowed_losses(due)
    if len(inside) < least:
        raise InvalidMeasurementError(
            f"gappy readings: {len(inside)} of {due} came inside a window, the limit is {least}",
            remedy="check the meter's cable or its Wi-Fi and measure again",
        )
    watts = [reading.watts for _, reading in inside]
    return Power(sum(watts) / len(watts), max(watts), len(watts))


def allowed_losses(due: int) -> int:
    """Return how many of the readings due in a window may be missing or implausible: one, and one in twenty."""
    return 1 + due // 20


def taken_at(arrivals_s: Sequence[float], period_s: float) -> list[float]:
    """When readings were taken at the latest, in order.

    The meter ticks exactly, and a line can be late but never early. So one that is followed by the next after
    less than a period was taken a period before that one: two that arrive together lie a period apart. The
    2 % are for a period that was measured a little too long: without them the error would grow from reading
    to reading.
    """
    times_s: list[float] = []
    for arrival_s in reversed(arrivals_s):
        times_s.append(min(arrival_s, times_s[-1] - 0.98 * period_s) if times_s else arrival_s)
    return times_s[::-1]


def measure_period(arrivals_s: Sequence[float]) -> float:
    """Return the seconds from one reading to the next, of 2 or more arrivals in order that are not all one moment.

    A first guess comes from stretches of up to 20 readings, in which jitter and lines that arrive together hardly
    matter. With it an interval is a whole number of periods, a lost line makes it two and a stall none.
    """
    intervals_s = np.diff(arrivals_s)
    whole_s = float(intervals_s.sum())
    stride = max(1, min(_STRIDE, len(arrivals_s) // 4))
    guess_s = float(np.median(np.subtract(arrivals_s[stride:], arrivals_s[:-stride]))) / stride
    periods = np.rint(intervals_s / (guess_s or whole_s / len(intervals_s))).sum()
    return whole_s / max(1.0, float(periods))


def parse_smart_power_2(line: bytes) -> Sample | None:
    """Return the sample in a whole line of stock, Dres0109 or ytrikoz firmware; None where there is none."""
    found = _STOCK.fullmatch(line) or _YTRIKOZ_TCP.fullmatch(line)
    if found:
        volts, amps, watts = map(float, found.groups())
        return Sample(watts, volts, amps)
    found = _YTRIKOZ_SERIAL.fullmatch(line)
    if found:
        amps = float(found[2]) if found[2] else float(found[3]) / 1e3
        return Sample(float(found[4]), float(found[1]), amps)
    return None


def parse_smart_power_3(line: bytes, channel: int = 0) -> Sample | None:
    """Return the sample of one output, 0 or 1, in a whole line of a Smart Power 3 whose checksums hold; else None."""
    found = _SMART_POWER_3.fullmatch(line)
    if not found or (int(found[7], 16), int(found[8], 16)) != checksums(line[:_SMART_POWER_3_SUMMED]):
        return None
    millivolts, milliamps, milliwatts = map(int, found.groups()[channel * 3 : channel * 3 + 3])
    return Sample(milliwatts / 1e3, millivolts / 1e3, milliamps / 1e3)


def checksums(summed: bytes) -> tuple[int, int]:
    """Smart Power 3: two's complement of the sum, and the exclusive or, of the first 74 bytes of a line."""
    return -sum(summed) & 0xFF, int(np.bitwise_xor.reduce(np.frombuffer(summed, np.uint8)))


def is_plausible(sample: Sample) -> bool:
    """False for what a failed read of the sensor prints, and where watts and volts x amps do not agree."""
    mismatch_w = abs(sample.watts - sample.volts * sample.amps)
    return (
        sample.volts <= _MAX_VOLTS
        and sample.amps <= _MAX_AMPS
        and sample.watts <= _MAX_WATTS
        and mismatch_w <= max(_MISMATCH * sample.watts, _LEAST_MISMATCH_W)
    )


class Decoder:
    """Bytes of one connection in, samples out, the same however the bytes are cut. Raises nothing.

    Lines end with any run of CR and LF; what is no whole line of the meter is dropped. So are the bytes before
    the first line end: nobody knows whether they begin a line. `implausible` counts the samples left out.
    """

    def __init__(self, parse: Callable[[bytes], Sample | None] = parse_smart_power_2) -> None:
        self.implausible = 0
        self._parse = parse
        self._rest = b""
        self._skips = True  # to the next line end: the line began before the connection or is too long

    def feed(self, data: bytes) -> list[Sample]:
        """Return the plausible samples that these bytes complete, in order."""
        *lines, self._rest = re.split(rb"[\r\n]", self._rest + data)
        if lines and self._skips:
            self._skips = False
            del lines[0]
        if self._skips or len(self._rest) > _MAX_LINE:
            self._skips, self._rest = True, b""
        samples = [sample for line in lines if (sample := self._parse(line)) is not None]
        plausible = [sample for sample in samples if is_plausible(sample)]
        self.implausible += len(samples) - len(plausible)
        return plausible
