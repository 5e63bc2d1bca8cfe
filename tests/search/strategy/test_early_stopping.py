"""What accuracy a candidate must have and can still reach: numbers worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.strategy.early_stopping import (
    gain_to_come,
    holding_probability,
    reachable_percent,
    required_percent,
)


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


@given(constraint=st.floats(1, 99), lower=st.floats(0, 100), higher=st.floats(0, 100), validation=IMAGES, test=IMAGES)
def test_more_accuracy_holds_the_constraint_more_surely(
    constraint: float, lower: float, higher: float, validation: int, test: int
) -> None:
    lower, higher = sorted((lower, higher))
    chances = [holding_probability(constraint, accuracy, validation, test) for accuracy in (lower, higher)]
    assert 0 <= chances[0] <= chances[1] <= 1
    easy, hard = (holding_probability(limit, constraint, validation, test) for limit in (lower, higher))
    assert easy >= hard, "the same accuracy holds a higher constraint less surely"


@given(constraint=st.floats(1, 99), validation=IMAGES, test=IMAGES)
def test_the_probability_goes_with_the_margin(constraint: float, validation: int, test: int) -> None:
    assert holding_probability(constraint, constraint, validation, test) == pytest.approx(0.5)
    required = required_percent(constraint, 2.33, validation, test)
    assert required == 100 or holding_probability(constraint, required, validation, test) >= 0.99


@given(constraint=st.floats(1, 99), accuracy=st.floats(0, 100), tried=st.integers(1, 50))
def test_the_best_of_many_holds_the_constraint_less_surely(constraint: float, accuracy: float, tried: int) -> None:
    alone = holding_probability(constraint, accuracy, 3_000, 10_000)
    best_of_many = holding_probability(constraint, accuracy, 3_000, 10_000, tried)
    assert best_of_many == pytest.approx(max(0, 1 - tried * (1 - alone)))


def test_a_constraint_of_nothing_or_of_all_is_certain() -> None:
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


def test_accuracy_to_come_grows_evenly_with_doublings() -> None:
    assert gain_to_come(40, 0, 40, 2.0) == 2.0
    assert gain_to_come(5, 0, 35, 2.0) == 6.0
    assert gain_to_come(4, 16, 40, 2.0) == 2.0 * math.log2(3)
    assert gain_to_come(4, 60, 48, 2.0) == gain_to_come(4, 20, 48, 2.0)  # a parent's long training lasts in part
    assert gain_to_come(0, 0, 0, 2.0) == 0.0
