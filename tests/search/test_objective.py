"""What a candidate is worth by each objective, and what its arithmetic allows: numbers worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.measuring.measurement import Environment, Measurement, Window
from edge.measuring.plan import MeasurePlan
from search.objective import BOUND_SLACK, MIN_BOUND_ARCHITECTURES, Objective

HERE = Environment("pi", "aarch64", "A53", 4, "Linux", "3.11", "litert", None, None, None, None, None)


def measurement(power_w: float | None) -> Measurement:
    """100 images in 0.5 s, of which 0.2 s inside invoke(): 2 ms, and 5 ms x power for an image."""
    window = Window(10.0, 10.5, 100, 0.2, 2.0, 2.1, power_w, power_w)
    plan = MeasurePlan("test", warmup_s=0.0, windows=1, window_s=0.5)
    return Measurement("ab" * 32, 1000, plan, (window,), 50.0, 1.0, 1.0, HERE, "local:", "none", False)


def test_value_of_a_measurement() -> None:
    weighed = measurement(power_w=4.0)
    assert Objective.LATENCY.value_of(weighed, 70.0) == pytest.approx(2.0)
    assert Objective.ENERGY.value_of(weighed, 70.0) == pytest.approx(20.0)  # 4 W x 5 ms
    assert Objective.FOM.value_of(weighed, 70.0) == pytest.approx(70 / (2 * 20))
    assert Objective.LATENCY.value_of(measurement(power_w=None), 70.0) == pytest.approx(2.0)


@pytest.mark.parametrize("objective", [Objective.ENERGY, Objective.FOM])
def test_a_road_that_needs_a_meter_says_so(objective: Objective) -> None:
    with pytest.raises(ValueError, match=f"{objective} needs a meter"):
        objective.value_of(measurement(power_w=None), 70.0)


@pytest.mark.parametrize(
    ("objective", "better", "worse"),
    [(Objective.LATENCY, 1, 2), (Objective.ENERGY, 1, 2), (Objective.FOM, 2, 1)],
)
def test_is_better(objective: Objective, better: float, worse: float) -> None:
    assert objective.is_better(better, worse)
    assert not objective.is_better(worse, better)
    assert not objective.is_better(better, better)
    assert objective.best([worse, better, worse]) == better
    assert objective.advantage(better, over=worse) == 2
    assert objective.advantage(worse, over=better) == 0.5
    assert objective.is_better(better, objective.worsened(better, 0.1))


@pytest.mark.parametrize(("objective", "power"), [(Objective.LATENCY, 1), (Objective.ENERGY, 1), (Objective.FOM, -2)])
@given(
    st.integers(1_000, 10**8),
    st.lists(
        st.integers(1_000, 10**8), min_size=MIN_BOUND_ARCHITECTURES, max_size=MIN_BOUND_ARCHITECTURES
    ),
)
def test_no_architecture_is_given_up_for_arithmetic_that_one_as_fast_as_any_could_do(
    objective: Objective, power: int, macs: int, others: list[int]
) -> None:
    measured = [(other, (other / 1e4) ** power) for other in others]  # all at one speed
    best = objective.bound(macs, measured)
    assert best is not None
    assert best == pytest.approx((macs / 1e4 / BOUND_SLACK) ** power)
    assert objective.is_better(best, (macs / 1e4) ** power)
    assert objective.bound(macs, measured[1:]) is None
