"""What a candidate is worth, what accuracy it must have and can still reach: numbers worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.measuring.measurement import Environment, Measurement, Window
from edge.measuring.plan import MeasurePlan
from search.strategy.early_stopping import (
    FREE_LEAST,
    FREE_SLACK,
    best_case_of,
    gain_to_come,
    holding_probability,
    is_better,
    objective,
    reachable_percent,
    required_percent,
)

HERE = Environment("pi", "aarch64", "A53", 4, "Linux", "3.11", "litert", None, None, None, None, None)


def measurement(power_w: float | None) -> Measurement:
    """100 images in 0.5 s, of which 0.2 s inside invoke(): 2 ms, and 5 ms x power for an image."""
    window = Window(10.0, 10.5, 100, 0.2, 2.0, 2.1, power_w, power_w)
    plan = MeasurePlan("test", warmup_s=0.0, windows=1, window_s=0.5)
    return Measurement("ab" * 32, 1000, plan, (window,), 50.0, 1.0, 1.0, HERE, "local:", "none", False)


def test_objective() -> None:
    weighed = measurement(power_w=4.0)
    assert objective("latency", weighed, 70.0) == pytest.approx(2.0)
    assert objective("energy", weighed, 70.0) == pytest.approx(20.0)  # 4 W x 5 ms
    assert objective("fom", weighed, 70.0) == pytest.approx(70 / (2 * 20))
    assert objective("latency", measurement(power_w=None), 70.0) == pytest.approx(2.0)


@pytest.mark.parametrize("road", ["energy", "fom"])
def test_a_road_that_needs_a_meter_says_so(road: str) -> None:
    with pytest.raises(ValueError, match=f"{road} needs a meter"):
        objective(road, measurement(power_w=None), 70.0)


@pytest.mark.parametrize(("road", "better", "worse"), [("latency", 1, 2), ("energy", 1, 2), ("fom", 2, 1)])
def test_is_better(road: str, better: float, worse: float) -> None:
    assert is_better(road, better, worse)
    assert not is_better(road, worse, better)
    assert not is_better(road, better, better)


@pytest.mark.parametrize(
    ("arguments", "percent"),
    [
        # sqrt(0.7 x 0.3 x (1/5000 + 1/10000)) = sqrt(0.000063) = 0.0079373; twice that on top
        ((70.0, 2.0, 5_000, 10_000), 71.5875),
        # sqrt(0.97 x 0.03 x (2/300)) = sqrt(0.000194) = 0.0139284
        ((97.0, 1.25, 300, 300), 98.7410),
        ((70.0, 0.0, 10, 10), 70.0),
        ((0.0, 5.0, 10, 10), 0.0),
        ((99.0, 5.0, 10, 10), 100.0),
    ],
)
def test_required_percent(arguments: tuple[float, float, int, int], percent: float) -> None:
    assert required_percent(*arguments) == pytest.approx(percent, abs=1e-4)


IMAGES = st.integers(50, 50_000)


@given(rule=st.floats(1, 99), lower=st.floats(0, 100), higher=st.floats(0, 100), validation=IMAGES, test=IMAGES)
def test_more_accuracy_holds_the_rule_more_surely(
    rule: float, lower: float, higher: float, validation: int, test: int
) -> None:
    lower, higher = sorted((lower, higher))
    chances = [holding_probability(rule, accuracy, validation, test) for accuracy in (lower, higher)]
    assert 0 <= chances[0] <= chances[1] <= 1
    easy, hard = (holding_probability(limit, rule, validation, test) for limit in (lower, higher))
    assert easy >= hard, "the same accuracy holds a higher rule less surely"


@given(rule=st.floats(1, 99), validation=IMAGES, test=IMAGES)
def test_the_probability_goes_with_the_margin(rule: float, validation: int, test: int) -> None:
    assert holding_probability(rule, rule, validation, test) == pytest.approx(0.5)
    required = required_percent(rule, 2.33, validation, test)
    assert required == 100 or holding_probability(rule, required, validation, test) >= 0.99


@given(rule=st.floats(1, 99), accuracy=st.floats(0, 100), tried=st.integers(1, 50))
def test_the_best_of_many_holds_the_rule_less_surely(rule: float, accuracy: float, tried: int) -> None:
    alone = holding_probability(rule, accuracy, 3_000, 10_000)
    assert holding_probability(rule, accuracy, 3_000, 10_000, tried) == pytest.approx(max(0, 1 - tried * (1 - alone)))


def test_a_rule_of_nothing_or_of_all_is_certain() -> None:
    assert holding_probability(0.0, 0.0, 300, 300) == 1.0
    assert holding_probability(100.0, 99.9, 300, 300) == 0.0
    assert holding_probability(70.0, 71.5875, 5_000, 10_000) == pytest.approx(0.97725, abs=1e-4)  # two sigmas


@given(
    start=st.floats(10, 60),
    per_doubling=st.floats(0, 15),
    ceiling=st.floats(60, 100),
    annealing=st.floats(0, 6),
    epochs=st.integers(2, 30),
)
def test_a_curve_that_gets_there_is_never_given_up(
    start: float, per_doubling: float, ceiling: float, annealing: float, epochs: int
) -> None:
    """Even rise with the logarithm of the epochs, saturation, a bump over the last third."""

    def accuracy(epoch: int) -> float:
        bump = annealing * max(0.0, 1 - 3 * (1 - epoch / epochs))
        return min(100.0, min(ceiling, start + per_doubling * math.log2(epoch)) + bump)

    curve = [accuracy(epoch) for epoch in range(1, epochs + 1)]
    for done in range(1, epochs + 1):
        assert reachable_percent(curve[:done], epochs) >= curve[-1] - 1e-9


def test_a_flat_curve_is_given_up_and_a_rising_one_is_not() -> None:
    assert reachable_percent([30.0, 30.0, 30.0], 12) == pytest.approx(38.0)
    # 10 a doubling, two doublings, 8 at the end
    assert reachable_percent([20.0, 30.0, 35.0, 40.0], 16) == pytest.approx(68.0)
    assert reachable_percent([60.0, 50.0, 55.0], 6) == pytest.approx(68.0)  # a fall promises nothing, nor does it cost
    assert reachable_percent([50.0, 80.0, 95.0], 8) == 100.0


def test_nothing_is_known_before_the_third_epoch_and_all_after_the_last() -> None:
    for curve, epochs in (([1.0], 10), ([2.0, 1.0], 10), ([1.0] * 4, 20)):
        assert reachable_percent(curve, epochs) == 100.0
    assert reachable_percent([1.0], 1) == 1.0
    assert reachable_percent([50.0, 71.0], 2) == 71.0


@pytest.mark.parametrize(("road", "power"), [("latency", 1), ("energy", 1), ("fom", -2)])
@given(st.integers(1_000, 10**8), st.lists(st.integers(1_000, 10**8), min_size=FREE_LEAST, max_size=FREE_LEAST))
def test_no_structure_is_given_up_for_arithmetic_that_one_as_fast_as_any_could_do(
    road: str, power: int, macs: int, others: list[int]
) -> None:
    measured = [(other, (other / 1e4) ** power) for other in others]  # all at one speed
    best = best_case_of(road, macs, measured)
    assert best is not None
    assert best == pytest.approx((macs / 1e4 / FREE_SLACK) ** power)
    assert is_better(road, best, (macs / 1e4) ** power)
    assert best_case_of(road, macs, measured[1:]) is None


def test_accuracy_to_come_grows_evenly_with_doublings() -> None:
    assert gain_to_come(40, 0, 40, 2.0) == 2.0
    assert gain_to_come(5, 0, 35, 2.0) == 6.0
    assert gain_to_come(4, 16, 40, 2.0) == 2.0 * math.log2(3)
    assert gain_to_come(4, 60, 48, 2.0) == gain_to_come(4, 20, 48, 2.0)  # an ancestor's long training lasts in part
    assert gain_to_come(0, 0, 0, 2.0) == 0.0
