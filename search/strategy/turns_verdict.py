"""Decide from windows in turns whether an architecture can beat the best one: pure arithmetic."""

from collections.abc import Sequence
from enum import Enum
from statistics import median

from edge.measuring.measurement import Measurement, Window
from search.objective import Objective

NEAR = 1.3
"""An architecture that is up to this many times worse is measured once more before it is rejected."""
MAX_ROUNDS = 3


class Verdict(Enum):
    """What rounds of windows in turns say of an architecture."""

    CAN_WIN = "can win"
    NEAR = "near: measure again"
    CANNOT_WIN = "cannot win"


def advantages(
    objective: Objective, candidate: Measurement, reference: Measurement, reference_percent: float
) -> list[float]:
    """Return how many times better than the reference the candidate is at 100 % accuracy, for each pair of windows.

    Windows of the same number were taken side by side: a disturbance of the machine affects both.

    Args:
        objective: The objective.
        candidate: The windows of the candidate.
        reference: The windows of the reference.
        reference_percent: The accuracy of the reference.
    """
    pairs = list(zip(candidate.windows, reference.windows, strict=False))  # the quicker one may have more of them
    faster = [theirs.p50_ms / own.p50_ms for own, theirs in pairs]
    if objective is Objective.LATENCY:
        return faster
    thriftier = [_energy(theirs) / _energy(own) for own, theirs in pairs]
    if objective is Objective.ENERGY:
        return thriftier
    return [time * energy * 100 / reference_percent for time, energy in zip(faster, thriftier, strict=True)]


def judge(rounds: Sequence[Sequence[float]], tie: float = 0.0) -> tuple[Verdict, float]:
    """Return the verdict of one to MAX_ROUNDS rounds of `advantages`, and their median. Up to `tie` worse is equal.
    """
    middle = median(value for values in rounds for value in values)
    if middle >= 1 - tie:
        return Verdict.CAN_WIN, middle
    if len(rounds) < MAX_ROUNDS and middle * NEAR >= 1:
        return Verdict.NEAR, middle
    return Verdict.CANNOT_WIN, middle


def _energy(window: Window) -> float:
    """Return the energy for an image, in mJ, with the median invoke() in place of the mean.

    A process that interrupts a window makes a few of its invokes very long, and the mean with them: in windows of 25 ms
    on a host with a load of 6 on two cores, medians of 20 ratios of means varied by 7.9 %, those of medians by 1.6 %.
    """
    if window.power_w is None:
        raise ValueError("the objective needs a meter, the windows have no power")
    around_ms = max(0.0, window.length_s / window.images * 1e3 - window.mean_ms)
    return window.power_w * (window.p50_ms + around_ms)
