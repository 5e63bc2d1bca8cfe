"""A Smart Power without hardware: a power profile and a seed in, bytes with their times out. No port, no clock."""

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge.errors import UsageError
from edge.meters.readings import checksums

_VOLTS = 5.2
_VOLT_STEP, _WATT_STEP = 0.00125, 0.00381687
_MIN_AMPS, _MIN_WATTS = 0.009, 0.038
_FAILED = (81.919, 0.0, 250.139)
_DEBUG = (b"scandone\n", b"bcn 0\n", b"del if1\r\n", b"station: 5c:cf:7f:00:00:01 join, AID = 1\n")
_BOOT = b"".join(b"[SETUP] BOOT WAIT %d...\n\r" % left for left in (4, 3, 2, 1)) + (
    b"\r\n########################\r\n#  ODROID Smart Power 2 #\r\n########################\r\n"
    b"FS File: index.html, size: 3.45KB\r\nHTTP server started\r\n"
)


class Profile:
    """Watts over time as steps: each holds until the next, the first also before its time."""

    def __init__(self, steps: Iterable[tuple[float, float]]) -> None:
        """`steps`: one or more (seconds, watts) in order of time."""
        self._times_s: list[float] = []
        self._watts: list[float] = []
        self._joules: list[float] = []
        for time_s, watts in steps:
            self.add(time_s, watts)

    def add(self, time_s: float, watts: float) -> None:
        """Add a step, not before the last one."""
        joules = 0.0
        if self._times_s:
            joules = self._joules[-1] + (time_s - self._times_s[-1]) * self._watts[-1]
        self._joules.append(joules)
        self._times_s.append(time_s)
        self._watts.append(watts)

    def mean_w(self, start_s: float, end_s: float) -> float:
        """Return the true mean power between two times."""
        return (self._energy_j(end_s) - self._energy_j(start_s)) / (end_s - start_s)

    def _energy_j(self, time_s: float) -> float:
        step = max(0, bisect_right(self._times_s, time_s) - 1)
        return self._joules[step] + (time_s - self._times_s[step]) * self._watts[step]


# Volts, amps, watts and the milliseconds since the start, as one line.
Format = Callable[[float, float, float, int], bytes]


def _stock(volts: float, amps: float, watts: float, ms: int) -> bytes:
    return b"%.3f,%.3f,%.3f,0.000\r\n" % (volts, amps, watts)


def _ytrikoz_serial(volts: float, amps: float, watts: float, ms: int) -> bytes:
    shown = b"%3.0fmA" % (amps * 1e3)
    if amps >= 0.5:
        shown = b"%.2fA" % amps
    return b"%.2fV %s %.2fW\r" % (volts, shown, watts)


def _ytrikoz_tcp(volts: float, amps: float, watts: float, ms: int) -> bytes:
    return b'{"v":%.3f,"i":%.3f,"p":%.3f,"wh":%.6f}\r' % (volts, amps, watts, 0.0)


def _smart_power_3(volts: float, amps: float, watts: float, ms: int) -> bytes:
    output = (round(volts * 1e3), round(amps * 1e3), round(watts * 1e3), volts > 0)
    summed = b"%010d,12000,0500,06000,0,%05d,%04d,%05d,%d,00,00000,0000,00000,0,00," % (ms, *output)
    return summed + b"%02x,%02x\r\n" % checksums(summed)


@dataclass(frozen=True)
class Firmware:
    """What a supply sends and how often. `chip_s`: how long its chip averages; None: as long as a period."""

    period_s: float
    serial: Format
    tcp: Format
    chip_s: float | None = 0.264
    tcp_zeros: bool = False


FIRMWARES = {
    "stock": Firmware(1.0, _stock, _stock, tcp_zeros=True),
    "dres0109": Firmware(0.1, _stock, _stock, tcp_zeros=True),
    "ytrikoz": Firmware(0.25, _ytrikoz_serial, _ytrikoz_tcp),
    "smartpower3": Firmware(0.01, _smart_power_3, _smart_power_3, chip_s=None),
}


@dataclass(frozen=True)
class Faults:
    """What goes wrong on the way: `jitter_s` is the largest delay, the others are shares of the lines, 0..1."""

    jitter_s: float = 0.04
    lost: float = 0.0
    joined: float = 0.0
    cut: float = 0.0
    debug: float = 0.0
    failed: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.lost, self.joined, self.cut, self.debug, self.failed)
        if not (0 <= self.jitter_s < math.inf and all(0 <= share <= 1 for share in shares)):
            raise UsageError(f"a jitter must be >= 0 s and a share of lines 0..1, got {self}")


@dataclass(frozen=True)
class Chunk:
    """Bytes that arrive together."""

    time_s: float
    data: bytes


class Supply:
    """One connection of a supply. However often `advance` is called, the bytes are the same."""

    def __init__(
        self,
        mean_w: Callable[[float, float], float],
        start_s: float,
        firmware: str = "stock",
        tcp: bool = False,
        period_s: float | None = None,
        faults: Faults | None = None,
        boot_s: float = 5.2,
        seed: int = 0,
    ) -> None:
        """`mean_w(start_s, end_s)` is the power drawn; the first line is due a period after `start_s`."""
        self._firmware = FIRMWARES[firmware]
        self._mean_w = mean_w
        self._tcp = tcp
        self._period_s = self._firmware.period_s
        if period_s is not None:
            self._period_s = period_s
        if not 0 < self._period_s < math.inf:
            raise UsageError(f"a supply's period must be > 0 s, got {self._period_s}")
        self._faults = faults or Faults()
        self._boot_s = boot_s
        self._random = random.Random(seed)
        self._start_s = self._begun_s = start_s
        self._phase_s = self._random.random()
        self._ticks = 1
        self._pending: list[Chunk] = []
        self._held = b""
        self._on = True
        self._silent_until_s = -math.inf

    @property
    def next_s(self) -> float:
        """The time at which `advance` has something to do next."""
        if self._pending:
            return min(self._tick_s, self._pending[0].time_s)
        return self._tick_s

    def advance(self, now_s: float) -> list[Chunk]:
        """Return what arrives up to `now_s`, in order. Times must not go back."""
        while self._tick_s <= now_s:
            self._tick(self._tick_s)
            self._ticks += 1
        due = [chunk for chunk in self._pending if chunk.time_s <= now_s]
        del self._pending[: len(due)]
        return due

    def command(self, text: str, now_s: float) -> None:
        """Obey reset, silence SECONDS, garbage, off or on. Raises UsageError for anything else."""
        match text.split():
            case ["reset"]:
                self._send(now_s, self._noise() + _BOOT)
                # The output comes back: autorun is on. The ticks begin anew.
                self._on, self._held = True, b""
                self._start_s, self._ticks = now_s + self._boot_s, 0
            case ["silence", seconds] if seconds.replace(".", "", 1).isdecimal():
                self._silent_until_s = now_s + float(seconds)
            case ["garbage"]:
                self._send(now_s, self._noise())
            case [("off" | "on") as state]:
                self._on = state == "on"
            case _:
                raise UsageError(
                    f"no command {text!r}",
                    remedy="there is: reset, silence SECONDS, garbage, off, on",
                )

    @property
    def _tick_s(self) -> float:
        return self._start_s + self._ticks * self._period_s

    def _tick(self, time_s: float) -> None:
        sends_zeros = not self._on and self._tcp and self._firmware.tcp_zeros
        if time_s < self._silent_until_s or not (self._on or sends_zeros):
            return
        state = (0.0, 0.0, 0.0)
        if not sends_zeros:
            state = self._state(time_s)
        line = self._format(time_s, *state)
        faults = self._faults
        if self._happens(faults.debug):
            cut = self._random.randrange(len(line))
            line = line[:cut] + self._random.choice(_DEBUG) + line[cut:]
        if self._happens(faults.lost):
            return
        if not self._held and self._happens(faults.joined):
            self._held = line
            return
        line = self._held + line
        self._held = b""
        cut = 0
        if self._happens(faults.cut):
            cut = self._random.randrange(len(line))
        arrival_s = time_s + self._random.uniform(0, faults.jitter_s)
        if cut:
            self._send(arrival_s, line[:cut])
            arrival_s += self._random.uniform(0, faults.jitter_s)
        self._send(arrival_s, line[cut:])

    def _state(self, time_s: float) -> tuple[float, float, float]:
        """Return what the firmware reads now: volts, amps, watts."""
        if self._happens(self._faults.failed):
            return _FAILED
        chip_s = self._firmware.chip_s or self._period_s
        end_s = time_s
        if self._firmware.chip_s is not None:
            # The last average that was finished.
            end_s -= (time_s - self._begun_s + self._phase_s) % chip_s
        watts = round(self._mean_w(end_s - chip_s, end_s) / _WATT_STEP) * _WATT_STEP
        volts = round(_VOLTS / _VOLT_STEP + self._random.uniform(-2, 2)) * _VOLT_STEP
        amps = watts / volts * self._random.uniform(1, 1.02)
        if amps < _MIN_AMPS:
            amps = 0.0
        if watts < _MIN_WATTS:
            watts = 0.0
        return volts, amps, watts

    def _format(self, time_s: float, volts: float, amps: float, watts: float) -> bytes:
        as_line = self._firmware.tcp if self._tcp else self._firmware.serial
        return as_line(volts, amps, watts, round((time_s - self._begun_s) * 1e3))

    def _send(self, time_s: float, data: bytes) -> None:
        if self._pending:  # nothing overtakes
            time_s = max(time_s, self._pending[-1].time_s)
        self._pending.append(Chunk(time_s, data))

    def _noise(self) -> bytes:
        return b"\x00\xff" + self._random.randbytes(200)

    def _happens(self, share: float) -> bool:
        return self._random.random() < share
