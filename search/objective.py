"""The objective of a study: the road that it enters in the competition."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from edge.measuring.measurement import Measurement

MIN_BOUND_ARCHITECTURES = 20
"""The bound is unknown until this many architectures have been measured."""
BOUND_SLACK = 2.0
"""An architecture may be this many times faster per MAC than the fastest one measured. Small networks have not been
seen to compute faster per MAC than larger ones."""


class Objective(str, Enum):
    """Lowest latency, lowest energy, or highest FoM = accuracy / (latency x energy)."""

    LATENCY = "latency"
    ENERGY = "energy"
    FOM = "fom"

    __str__ = str.__str__

    @property
    def unit(self) -> str:
        """Return the unit of `value_of`, for one line of a log."""
        return _FACTS[self].unit

    @property
    def label(self) -> str:
        """Return the name of `value_of` with its unit, for tables and charts."""
        return _FACTS[self].label

    @property
    def is_maximized(self) -> bool:
        """Return True where a higher value is better."""
        return _FACTS[self].is_maximized

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Return Optuna's word for `is_maximized`."""
        return "maximize" if self.is_maximized else "minimize"

    @property
    def needs_power(self) -> bool:
        """Return True where a value needs readings of a power meter."""
        return _FACTS[self].needs_power

    def value_of(self, measurement: Measurement, accuracy_percent: float) -> float:
        """Return the value to optimize: ms, mJ, or accuracy in percent / (ms x mJ).

        Raises ValueError where the objective needs power and the measurement has none.
        """
        if self.needs_power and measurement.energy_mj is None:
            raise ValueError(f"road {self} needs a meter, the measurement has no energy")
        return _FACTS[self].value_of(measurement, accuracy_percent)

    def is_better(self, value: float, than: float) -> bool:
        """Return True where `value` wins against `than`."""
        return value > than if self.is_maximized else value < than

    def best(self, values: Iterable[float]) -> float:
        """Return the best of the values. Raises ValueError where there is none."""
        return max(values) if self.is_maximized else min(values)

    def advantage(self, value: float, over: float) -> float:
        """Return how many times better `value` is than `over`; below 1 it is worse."""
        return value / over if self.is_maximized else over / value

    def worsened(self, value: float, share: float) -> float:
        """Return the value that is worse than `value` by this share of it."""
        return value * (1 - share) if self.is_maximized else value * (1 + share)

    def bound(self, macs: int, measured: Sequence[tuple[int, float]]) -> float | None:
        """Return the value that no architecture with this many MACs can beat; None where it is unknown.

        `measured`: MACs and value at 100 % accuracy of each architecture that was measured. None of them did its
        arithmetic faster than the fastest; BOUND_SLACK times as fast is granted.
        """
        if len(measured) < MIN_BOUND_ARCHITECTURES:
            return None
        power = _FACTS[self].mac_power
        fastest = max(other / value ** (1 / power) for other, value in measured)
        return float((macs / (fastest * BOUND_SLACK)) ** power)


def _latency_ms(measurement: Measurement, accuracy_percent: float) -> float:
    return measurement.latency_ms


def _energy_mj(measurement: Measurement, accuracy_percent: float) -> float:
    assert measurement.energy_mj is not None  # `value_of` has checked it
    return measurement.energy_mj


def _fom(measurement: Measurement, accuracy_percent: float) -> float:
    return accuracy_percent / (measurement.latency_ms * _energy_mj(measurement, accuracy_percent))


@dataclass(frozen=True)
class _Facts:
    """All that an objective is: a new one is a line of `_FACTS`.

    `mac_power`: the value grows with the MACs to this power.
    """

    unit: str
    label: str
    value_of: Callable[[Measurement, float], float]
    is_maximized: bool
    needs_power: bool
    mac_power: int


_FACTS = {
    Objective.LATENCY: _Facts("ms", "latency [ms]", _latency_ms, False, False, 1),
    Objective.ENERGY: _Facts("mJ", "energy per image [mJ]", _energy_mj, False, True, 1),
    Objective.FOM: _Facts("FoM", "FoM [% / (ms x mJ)]", _fom, True, True, -2),
}
