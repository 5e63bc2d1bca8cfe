"""What a candidate is worth on a road, and what it can no longer reach: pure arithmetic, no Optuna."""

import math
from collections.abc import Sequence
from statistics import NormalDist

from edge.measuring.measurement import Measurement

ANNEALING_GAIN = 8.0
"""Points of accuracy that the end of a cosine decay brings on top of the trend, generously: the curves of
`thrones report` show 3 to 6."""

INHERITED = 5
"""Finalists whose candidates had 4 epochs and up to 20 inherited ones gained 2.0 to 2.2 points for each doubling of
all; one with 60 inherited ones had lost 3 of its parent's points again."""

FREE_LEAST = 20
FREE_SLACK = 2.0
"""See `best_case_of`: small networks have not been seen to compute faster per MAC than larger ones."""


def objective(road: str, measurement: Measurement, accuracy_percent: float) -> float:
    """The value that the road optimises: ms, mJ, or accuracy in percent / (ms x mJ)."""
    if road == "latency":
        return measurement.latency_ms
    energy_mj = measurement.energy_mj
    if energy_mj is None:
        raise ValueError(f"road {road} needs a meter, the measurement has no energy")
    return energy_mj if road == "energy" else accuracy_percent / (measurement.latency_ms * energy_mj)


def is_better(road: str, value: float, than: float) -> bool:
    """Whether `value` wins against `than` on the road."""
    return value > than if road == "fom" else value < than


def best_case_of(road: str, macs: int, measured: Sequence[tuple[int, float]]) -> float | None:
    """The value that no structure of so many MACs can beat, from those measured: (MACs, value at 100 %) each.

    None has done its arithmetic faster than the fastest of them; FREE_SLACK times as fast is granted. Time and energy
    grow with the MACs, and a FoM falls with their square. None where fewer than FREE_LEAST were measured.
    """
    if len(measured) < FREE_LEAST:
        return None
    power = -2 if road == "fom" else 1
    fastest = max(other / value ** (1 / power) for other, value in measured)
    return float((macs / (fastest * FREE_SLACK)) ** power)


def gain_to_come(epochs: int, inherited_epochs: int, more_epochs: int, points_per_doubling: float) -> float:
    """What `more_epochs` are expected to add to the accuracy: it rises evenly with the logarithm of all epochs.

    Those of its ancestors count up to INHERITED times a candidate's own: it begins with their weights, cut to another
    shape, at a high learning rate.
    """
    known = epochs + min(inherited_epochs, INHERITED * epochs)
    return points_per_doubling * math.log2(1 + more_epochs / max(1, known))


def required_percent(rule_percent: float, sigmas: float, decision_images: int, test_images: int) -> float:
    """The accuracy to ask for on the images that decide, so that the test accuracy keeps the rule.

    Both are binomial counts of one true accuracy; the standard deviation of their difference at the rule is
    sqrt(p (1 - p) (1 / decision + 1 / test)). `sigmas` of it are added; 100 is the most that can be asked for.
    """
    share = rule_percent / 100
    sigma = math.sqrt(share * (1 - share) * (1 / decision_images + 1 / test_images))
    return min(100.0, rule_percent + sigmas * sigma * 100)


def holding_probability(
    rule_percent: float, accuracy_percent: float, decision_images: int, test_images: int, tried: int = 1
) -> float:
    """How likely at least, 0..1, the test accuracy keeps the rule where the deciding accuracy is `accuracy_percent`.

    The normal approximation of `required_percent`. The best of several owes some of its accuracy to luck: where
    `tried` networks were held against the rule, any of them may be the one that passed for that alone, so the chance
    of a mistake counts so many times (Bonferroni's bound).
    """
    share = rule_percent / 100
    sigma = math.sqrt(share * (1 - share) * (1 / decision_images + 1 / test_images))
    if sigma == 0:  # a rule of 0 or 100 % leaves nothing to chance
        return float(accuracy_percent >= rule_percent)
    mistake = NormalDist().cdf((rule_percent - accuracy_percent) / 100 / sigma)
    return max(0.0, 1 - max(1, tried) * mistake)


def reachable_percent(curve: Sequence[float], epochs: int) -> float:
    """An upper estimate of the accuracy after all `epochs`, from the accuracies after the first few.

    Learning curves rise about evenly with the logarithm of the epochs: the gain since half as many epochs is granted
    again for each doubling left, and ANNEALING_GAIN on top. Before the third epoch, and before a quarter of
    them is over, nothing is known: 100. (Flat starts and dips are common while the learning rate is high.)
    """
    done = len(curve)
    if done >= epochs:
        return curve[-1]
    if done < max(3, epochs / 4):
        return 100.0
    best = max(curve)
    per_doubling = max(0.0, best - curve[done // 2 - 1])
    return min(100.0, best + per_doubling * math.log2(epochs / done) + ANNEALING_GAIN)
