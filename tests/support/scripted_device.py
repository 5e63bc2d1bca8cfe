"""A device that takes the times that a test gives it."""

from collections.abc import Sequence
from typing import Any

from edge.measuring.measurement import Environment, Measurement, Window
from edge.measuring.plan import PLANS, MeasurePlan

PLAN = PLANS["search"]
ENVIRONMENT = Environment(*("x86",) * 3, 2, *("x",) * 3, *(None,) * 5)


def measured(ms: float, plan: MeasurePlan = PLAN) -> Measurement:
    """Return a measurement all of whose windows have this time."""
    windows = tuple(Window(n, n + 1.0, 1000, ms, ms, ms) for n in range(plan.windows))
    return Measurement("a" * 64, 1, plan, windows, 40.0, 2.0, 1.0, ENVIRONMENT, "local:", "none", False)


class Scripted:
    """Takes one of the times for each measurement, and a pair of them for each round in turns."""

    url, shortest_window_s = "local:", 0.0

    def __init__(self, *singly: float, turns: Sequence[tuple[float, float]] = ()) -> None:
        self.singly = iter(singly)
        self.turns = iter(turns)

    def measure(self, model: bytes, plan: MeasurePlan, images: Any) -> Measurement:
        return measured(next(self.singly), plan)

    def measure_in_turns(self, models: list[bytes], plan: MeasurePlan, images: Any) -> list[Measurement]:
        return [measured(ms, plan) for ms in next(self.turns)]
