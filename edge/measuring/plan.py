"""The measurement protocols: how long to measure, how often, and when not to trust it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from edge.errors import UsageError
from edge.records import build_record, check_number


@dataclass(frozen=True)
class MeasurePlan:
    """One attempt: cool down, stand idle, warm up, then windows of at least `window_s` each.

    There are at least `windows` of them, and together at least `passes` whole passes over the images. Nothing
    starts above `cool_below_c` (degrees Celsius; None: at any temperature). The idle power is measured over
    `idle_s`, where there is a meter. An attempt that cannot be trusted, such as one whose `Measurement.spread`
    is above `max_spread`, is repeated after `pause_s`, up to `attempts` in all. With `hold_training` the
    trainings on the same machine hold still meanwhile (`edge.measuring.training_lock`).

    Raises UsageError when a value makes no sense.
    """

    name: str
    warmup_s: float
    windows: int
    window_s: float
    passes: int = 0
    threads: int = 1
    max_spread: float = 0.5
    idle_s: float = 0.0
    cool_below_c: float | None = None
    attempts: int = 2
    pause_s: float = 1.0
    hold_training: bool = True

    def __post_init__(self) -> None:
        for key, least in (("windows", 1), ("passes", 0), ("threads", 1), ("attempts", 1)):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool):
                raise UsageError(f"{key} must be a whole number, got {value!r}")
            if value < least:
                raise UsageError(f"{key} must be >= {least}, got {value}")
        for key in ("warmup_s", "idle_s", "pause_s"):
            check_number(key, getattr(self, key), positive=False)
        for key in ("window_s", "max_spread"):
            check_number(key, getattr(self, key), positive=True)
        if self.cool_below_c is not None:
            check_number("cool_below_c", self.cool_below_c, positive=True)

    @property
    def seconds(self) -> float:
        """Return the least duration of an attempt, without the cool-down and the start of the child."""
        return self.idle_s + self.warmup_s + self.windows * self.window_s

    def part(self, parts: int) -> "MeasurePlan":
        """Return the plan of one round, of which `parts` are together at least this plan."""
        return replace(self, windows=-(-self.windows // parts), passes=-(-self.passes // parts))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe dict of all fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "MeasurePlan":
        """Return the inverse of `to_dict`. Raises UsageError for unknown or missing keys and bad values."""
        return build_record(cls, data)


# `search` needs a meter that is quick or assumed; `metered` gives one reading a second the six seconds that it needs.
# `whole` is the same over the whole test set, as Tables 1 and 2 of the competition require.
# `final` follows MLPerf Tiny: five windows of ten seconds, and the median of them.
PLANS: dict[str, MeasurePlan] = {
    "search": MeasurePlan("search", warmup_s=0.1, windows=10, window_s=0.1, max_spread=0.5),
    "metered": MeasurePlan("metered", warmup_s=1.0, windows=3, window_s=7.0, max_spread=0.3, idle_s=7.0, pause_s=10.0),
    "whole": MeasurePlan(
        "whole", warmup_s=1.0, windows=3, window_s=7.0, passes=1, max_spread=0.3, idle_s=7.0, pause_s=10.0
    ),
    "short": MeasurePlan("short", warmup_s=0.5, windows=5, window_s=1.0, max_spread=0.3),
    "final": MeasurePlan(
        "final",
        warmup_s=1.0,
        windows=5,
        window_s=10.0,
        passes=3,
        max_spread=0.2,
        idle_s=10.0,
        cool_below_c=60.0,  # the soft limit of a Pi 3B+, from which on its clock falls
        attempts=3,
        pause_s=30.0,
    ),
}


def plan_for(name: str, shortest_window_s: float) -> MeasurePlan:
    """Return the plan of this name; `auto` is `search`, or `metered` where the meter needs longer windows.

    Raises UsageError for another name, and for a plan whose windows are too short for the meter.
    """
    if name == "auto":
        name = "search"
        if shortest_window_s > PLANS["search"].window_s:
            name = "metered"
    if name not in PLANS:
        raise UsageError(f"no plan {name!r}", remedy=f"there are: auto, {', '.join(PLANS)}")
    plan = PLANS[name]
    if plan.window_s < shortest_window_s:
        longer = [other.name for other in PLANS.values() if other.window_s >= shortest_window_s]
        raise UsageError(
            f"plan {name} has windows of {plan.window_s:g} s, this meter needs "
            f"{shortest_window_s:.1f} s",
            remedy=f"use {' or '.join(longer) or 'a faster meter'}",
        )
    return plan
