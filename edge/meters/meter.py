"""Power during a window, behind a URL: `smartpower2:///dev/ttyUSB0`, `rapl://`, `estimate://4.8W` ..."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from edge.errors import UsageError
from edge.meters.rapl import RaplMeter
from edge.meters.readings import Power
from edge.meters.replay import ReplayMeter
from edge.meters.smartpower import open_smart_power

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time

# A Raspberry Pi draws 2 to 15 W and its supply gives 5 V x 5 A at most; more than this is a slip of the unit.
MAX_ESTIMATE_W = 60.0


class Meter(Protocol):
    """A source of power readings. `estimated` is True when they come from no instrument.

    It is made without touching hardware; a `with` opens it, waits for the first reading and closes it on every
    way out. Opening raises what `power` does, and UsageError when the URL turns out to be ambiguous.
    """

    @property
    def url(self) -> str: ...

    @property
    def estimated(self) -> bool: ...

    @property
    def shortest_window_s(self) -> float:
        """The seconds that a window must last to hold enough readings; 0.0 when none are needed."""
        ...

    def power(self, start_s: float, end_s: float) -> Power:
        """Power over the readings wholly inside a stretch of CLOCK_MONOTONIC seconds, which has passed.

        Raises InvalidMeasurementError for a window that is too short for the meter's rate, gappy readings or too
        many implausible ones; UnavailableError for a meter that is silent, gone, serves another client, or reads
        0 W because the output is off.
        """
        ...

    def __enter__(self) -> "Self": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class EstimateMeter:
    """A constant power that somebody assumed: what comes of it is an estimate and says so."""

    url: str
    watts: float
    estimated: bool = True
    shortest_window_s: float = 0.0

    def power(self, start_s: float, end_s: float) -> Power:
        """Return the assumed power, whatever the time, of 0 readings. Raises nothing."""
        return Power(self.watts, self.watts, 0)

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def open_meter(url: str) -> Meter:
    """Open the meter behind a URL; use it in a `with`. Raises UsageError for a URL that names none."""
    scheme, separator, rest = url.partition("://")
    if separator:
        if scheme in ("smartpower2", "smartpower3"):
            return open_smart_power(url)
        if scheme == "rapl" and not rest:
            return RaplMeter(url)
        if scheme == "replay" and rest:
            return ReplayMeter(url, Path(rest))
        if scheme == "estimate":
            return EstimateMeter(url, _parse_watts(url, rest))
    raise UsageError(
        f"no meter {url!r}",
        remedy=(
            "there is: smartpower2://PORT, smartpower3://PORT, rapl://, replay://FILE, "
            "estimate://WATTS, for example smartpower2:///dev/ttyUSB0 or estimate://4.8W"
        ),
    )


def _parse_watts(url: str, text: str) -> float:
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)W", text, flags=re.ASCII)
    watts = float(found[1]) if found else math.nan
    if not 0 < watts <= MAX_ESTIMATE_W:
        raise UsageError(
            f"{url!r} must give a power > 0 W and <= {MAX_ESTIMATE_W:g} W",
            remedy="for example estimate://4.8W",
        )
    return watts
