"""Power during a window, behind a URL: `estimate://4.8W` today."""

import math
import re
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from edge.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time

# A Raspberry Pi draws 2 to 15 W and its supply gives 5 V x 5 A at most; more than this is a slip of the unit.
MAX_ESTIMATE_W = 60.0


@dataclass(frozen=True)
class Power:
    """Mean and largest reading of a stretch of time, in watts."""

    mean_w: float
    max_w: float


class Meter(Protocol):
    """A source of power readings. `estimated` is True when no instrument stands behind them."""

    @property
    def url(self) -> str: ...

    @property
    def estimated(self) -> bool: ...

    def power(self, start_s: float, end_s: float) -> Power:
        """Power over the readings wholly inside a stretch of CLOCK_MONOTONIC seconds.

        Raises InvalidMeasurementError when no reading lies inside and UnavailableError when the meter does
        not answer.
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

    def power(self, start_s: float, end_s: float) -> Power:
        """The assumed power, whatever the time. Raises nothing."""
        return Power(self.watts, self.watts)

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def open_meter(url: str) -> Meter:
    """The meter behind a URL, to be used in a `with`. Raises UsageError for a URL that names none."""
    scheme, separator, rest = url.partition("://")
    if scheme == "estimate" and separator:
        return EstimateMeter(url, _parse_watts(url, rest))
    raise UsageError(f"no meter {url!r}; there is: estimate://WATTS, for example estimate://4.8W")


def _parse_watts(url: str, text: str) -> float:
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)W", text, flags=re.ASCII)
    watts = float(found[1]) if found else math.nan
    if not 0 < watts <= MAX_ESTIMATE_W:
        raise UsageError(
            f"{url!r} must give a power > 0 W and <= {MAX_ESTIMATE_W:g} W, for example estimate://4.8W"
        )
    return watts
