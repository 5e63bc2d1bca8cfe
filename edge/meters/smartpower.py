"""Smart Power 2 and 3: a thread reads the port and stamps what arrives, `power` looks at what is there."""

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from functools import partial
from types import TracebackType
from urllib.parse import parse_qsl

from edge.errors import InvalidMeasurementError, ThronesError, UnavailableError, UsageError
from edge.meters.ports import BAUD, Port, port_opener
from edge.meters.readings import (
    ARRIVAL_JITTER_S,
    Decoder,
    Power,
    Rate,
    Reading,
    Sample,
    allowed_losses,
    measure_period,
    parse_smart_power_2,
    parse_smart_power_3,
    power_between,
    shortest_window_s,
)

# The chip of the Smart Power 2 averages for 264 ms and the firmware reads its last finished average, which is up
# to 264 ms old.
SMART_POWER_2_SPAN_S = 2 * 0.264 + ARRIVAL_JITTER_S
# That of the slowest firmware, until the rate has been seen.
_SLOWEST_PERIOD_S = 1.0
_ENOUGH_TO_MEASURE = 6
# After a reset the first line takes 5 s and more; an output that is off sends none.
FIRST_READING_S = 10.0
SILENCE_S = 5.0
# How long opening listens, after the first reading, to learn the rate, and what is enough before that.
_LEARN_S, _LEARNT = 2.5, 41
# A period measured later may come out a little longer than the one that a plan was made with.
_PLANNING_MARGIN = 1.05
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
# Days at one reading a second, an hour at 50.
_KEPT = 200_000


class SmartPowerMeter:
    """A supply that sends a line per reading. Open it with `with`; a reader thread runs until that ends."""

    estimated = False

    def __init__(
        self,
        url: str,
        name: str,
        open_port: Callable[[], Port],
        parse: Callable[[bytes], Sample | None] = parse_smart_power_2,
        span_s: Callable[[float], float] = lambda period_s: SMART_POWER_2_SPAN_S,
        clock: Callable[[], float] = time.monotonic,
        first_reading_s: float = FIRST_READING_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        """`name` is for messages; `span_s` gives a reading's span for a period, both in seconds."""
        self.url = url
        self._name = name
        self._open_port = open_port
        self._parse = parse
        self._span_s = span_s
        self._clock = clock
        self._first_reading_s = first_reading_s
        self._silence_s = silence_s
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        # Guards what the reader thread writes.
        self._changed = threading.Condition()
        self._forget()

    def _forget(self) -> None:
        self._readings: deque[Reading] = deque(maxlen=_KEPT)
        self._implausible_s: deque[float] = deque(maxlen=_KEPT)
        # Of this connection, since its last pause: the rate is measured with them.
        self._arrivals_s: deque[float] = deque(maxlen=3 * _LEARNT)
        self._period_s = _SLOWEST_PERIOD_S
        self._unread_bytes = 0
        self._gone: ThronesError | None = None
        self._bug: Exception | None = None

    @property
    def shortest_window_s(self) -> float:
        """What a window must last, in seconds; measured from what arrives, so it can change a little."""
        with self._changed:
            return shortest_window_s(self._rate(_PLANNING_MARGIN))

    def power(self, start_s: float, end_s: float) -> Power:
        """See `edge.meters.meter.Meter.power`. While the port is gone, raises the first reason of that.

        Waits for the next reading where none has come since the window: its last ones may be late.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._failed() or not self._readings or self._readings[-1].time_s > end_s,
                self._silence_s,
            )
            self._check()
            rate = self._rate()
            # The readings just after the window tell whether its last ones were late.
            around = [r for r in self._readings if start_s <= r.time_s <= end_s + 2 * rate.period_s]
            implausible = sum(start_s <= time_s <= end_s for time_s in self._implausible_s)
        inside = [reading for reading in around if reading.time_s <= end_s]
        limit = allowed_losses(len(inside) + implausible)
        if implausible > limit:
            raise InvalidMeasurementError(
                f"{implausible} of {len(inside) + implausible} readings from {self._name} are "
                f"implausible, the limit is {limit}",
                remedy="switch the supply off and on if that happens again",
            )
        for reading in inside:
            self._check_load(reading)
        return power_between(around, rate, start_s, end_s)

    def __enter__(self) -> "SmartPowerMeter":
        port = self._open_port()
        self._forget()
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(port,), name=self.url, daemon=True)
        self._thread.start()
        try:
            self._await_readings()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _await_readings(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._readings or self._failed(), self._first_reading_s)
            if self._readings:
                self._check_load(self._readings[-1])
                self._changed.wait_for(lambda: len(self._arrivals_s) >= _LEARNT or self._failed(), _LEARN_S)
            elif not self._failed():
                raise self._silence(self._first_reading_s)
            self._check()

    def _failed(self) -> bool:
        return self._gone is not None or self._bug is not None

    def _check(self) -> None:
        if self._bug is not None:
            raise UnavailableError(
                f"the reader of {self._name} has failed",
                remedy="report what it printed",
            ) from self._bug
        if self._thread is None:
            raise UsageError(f"{self.url} is not open", remedy="use it in a `with`")
        if self._gone is not None:
            # A new one of its kind: the same exception raised twice would collect both tracebacks.
            raise type(self._gone)(self._gone.message, remedy=self._gone.remedy) from self._gone
        silent_s = self._clock() - self._readings[-1].time_s
        if silent_s > self._silence_s:
            raise self._silence(silent_s)

    def _check_load(self, reading: Reading) -> None:
        if reading.watts == 0:
            raise UnavailableError(
                f"{self._name} reads {reading.volts:.3f} V and 0 W, more than 0 W is needed",
                remedy="switch the supply's output on and plug the device in",
            )

    def _silence(self, silent_s: float) -> UnavailableError:
        started = f"no reading for {silent_s:.1f} s from {self._name}"
        if self._implausible_s and self._implausible_s[-1] > self._clock() - silent_s:
            return UnavailableError(
                f"{started}, but implausible ones",
                remedy="switch the supply off and on",
            )
        if self._unread_bytes:
            return UnavailableError(
                f"{started}, but {self._unread_bytes} bytes of something else",
                remedy="is it a supply of this kind and speed, done with booting?",
            )
        return UnavailableError(started, remedy="is the supply's output on?")

    def _rate(self, margin: float = 1.0) -> Rate:
        arrivals_s = list(self._arrivals_s)
        if len(arrivals_s) >= _ENOUGH_TO_MEASURE and arrivals_s[0] < arrivals_s[-1]:
            self._period_s = measure_period(arrivals_s)
        period_s = self._period_s * margin
        return Rate(period_s, self._span_s(period_s))

    def _run(self, port: Port) -> None:
        try:
            opened: Port | None = port
            pause_s = _FIRST_PAUSE_S
            while opened is not None:
                try:
                    with closing(opened):
                        self._read(opened)
                    return
                except ThronesError as error:
                    # Back-off grows as long as no reading comes, also where the port can be opened.
                    pause_s = _FIRST_PAUSE_S if self._arrivals_s else min(2 * pause_s, _LONGEST_PAUSE_S)
                    self._note_gone(error)
                opened = self._reopen(pause_s)
        except Exception as error:
            with self._changed:
                self._bug = error
                self._changed.notify_all()
            raise

    def _read(self, port: Port) -> None:
        decoder = Decoder(self._parse)
        last_s = self._clock()
        while not self._stop.is_set():
            data = port.read()
            now_s = self._clock()
            if data:
                last_s = now_s
                self._take(decoder, data, now_s)
            elif port.always_sends and now_s - last_s > 2 * self._silence_s:
                raise UnavailableError(
                    f"nothing for {now_s - last_s:.1f} s from {self._name}",
                    remedy="is it in reach?",
                )

    def _take(self, decoder: Decoder, data: bytes, now_s: float) -> None:
        before = decoder.implausible
        samples = decoder.feed(data)
        implausible = decoder.implausible - before
        with self._changed:
            self._implausible_s.extend([now_s] * implausible)
            self._unread_bytes = 0 if samples else self._unread_bytes + len(data)
            for sample in samples:
                if self._arrivals_s and now_s - self._arrivals_s[-1] > self._silence_s:
                    self._end_arrivals()
                self._arrivals_s.append(now_s)
                self._readings.append(Reading(now_s, sample.watts, sample.volts, sample.amps))
                self._gone = None
            self._changed.notify_all()

    def _note_gone(self, error: ThronesError) -> None:
        with self._changed:
            self._gone = self._gone or error
            self._end_arrivals()
            self._changed.notify_all()

    def _end_arrivals(self) -> None:
        # A pause is no part of the rate; until there are enough new arrivals it is what it was before.
        self._rate()
        self._arrivals_s.clear()

    def _reopen(self, pause_s: float) -> Port | None:
        # With back-off: a supply that boots or a router that is down needs seconds. None once closed.
        while not self._stop.wait(pause_s):
            try:
                return self._open_port()
            except ThronesError:
                # The first reason is kept; that the port is still gone says nothing new.
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return None


def open_smart_power(url: str) -> SmartPowerMeter:
    """Return the meter behind smartpower2://PORT or smartpower3://PORT[?channel=1&baud=921600], not yet opened.

    PORT is a path such as /dev/ttyUSB0, for the Smart Power 2 also HOST:PORT, or empty: found by its USB id when
    opened. Raises UsageError for anything else.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "smartpower2":
        name, open_port = port_opener(url, rest, BAUD)
        return SmartPowerMeter(url, name, open_port)
    place, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    channel, baud = options.pop("channel", "0"), options.pop("baud", str(BAUD))
    if options or channel not in ("0", "1") or not re.fullmatch(r"[1-9]\d{3,6}", baud, flags=re.ASCII):
        raise UsageError(
            f"{url!r} may have ?channel=0 or 1 and &baud=BAUD",
            remedy="for example ?channel=1&baud=921600",
        )
    if place and not place.startswith("/"):
        raise UsageError(
            f"{url!r} must name a serial port",
            remedy="for example smartpower3:///dev/ttyUSB0",
        )
    name, open_port = port_opener(url, place, int(baud))
    parse = partial(parse_smart_power_3, channel=int(channel))
    # It averages over the time from line to line.
    return SmartPowerMeter(url, name, open_port, parse, span_s=lambda period_s: period_s + ARRIVAL_JITTER_S)
