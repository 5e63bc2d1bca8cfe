"""The data of `edge`: plans, windows, measurements, and the timed loop on a made-up clock."""

import dataclasses
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import UsageError
from edge.measuring.attempts import find_fault
from edge.measuring.measurement import DEFINITIONS, Environment, Measurement, Window
from edge.measuring.plan import PLANS, MeasurePlan
from edge.measuring.time_limits import measuring_limit_s
from edge.measuring.timing import Subject, time_in_turns
from edge.records import build_record

ENVIRONMENT = Environment(
    "pi", "aarch64", "Cortex-A53", 4, "Linux", "3.11.2", "ai-edge-litert 2.3.0", "XNNPACK",
    "ondemand", 1400.0, 51.5, "0x0",
)  # fmt: skip

positive = st.floats(min_value=1e-6, max_value=1e6)


@st.composite
def windows(draw, powered):
    start_s = draw(st.floats(min_value=0, max_value=1e6))
    power_w = draw(positive) if powered else None
    return Window(
        start_s=start_s,
        end_s=start_s + draw(st.floats(min_value=0.01, max_value=100)),
        images=draw(st.integers(1, 10**6)),
        invoke_s=draw(positive),
        p50_ms=draw(positive),
        p90_ms=draw(positive),
        power_w=power_w,
        max_power_w=power_w,
    )


@st.composite
def measurements(draw):
    powered = draw(st.booleans())
    return make(
        *draw(st.lists(windows(powered), min_size=1, max_size=6)),
        environment=dataclasses.replace(
            ENVIRONMENT,
            host=draw(st.text()),
            clock_mhz=draw(st.none() | positive),
            throttled=draw(st.none() | st.text()),
        ),
        estimated=powered,
    )


def make(*windows, **changes):
    values = {
        "sha256": "ab" * 32,
        "model_bytes": 1000,
        "plan": PLANS["search"],
        "windows": tuple(windows),
        "peak_memory_mb": 50.0,
        "memory_growth_mb": 3.0,
        "load_ms": 1.5,
        "environment": ENVIRONMENT,
        "device": "local:",
        "meter": "none",
        "estimated": False,
    }
    return Measurement(**{**values, **changes})


def window(mean_ms, images=100, length_s=1.0, power_w=None, max_power_w=None):
    return Window(
        10.0, 10.0 + length_s, images, mean_ms * images / 1e3, mean_ms, 2 * mean_ms, power_w, max_power_w
    )


@given(measurements())
def test_json_gives_the_same_measurement_again(measurement):
    text = measurement.to_json()
    assert Measurement.from_json(text) == measurement
    assert "\n" not in text


@given(measurements())
def test_statistics_lie_within_their_windows(measurement):
    means = [w.mean_ms for w in measurement.windows]
    slack = 1 + 1e-9
    assert min(means) / slack <= measurement.latency_ms <= max(means) * slack
    assert min(means) / slack <= measurement.mean_ms <= max(means) * slack
    assert 0 <= measurement.spread * measurement.latency_ms <= (max(means) - min(means)) * slack
    assert (
        (measurement.energy_mj is None) == (measurement.power_w is None) == (measurement.max_power_w is None)
    )


def test_statistics_of_hand_made_windows():
    measurement = make(
        window(1.0, power_w=4.0, max_power_w=4.5),
        window(2.0, power_w=5.0, max_power_w=6.0, length_s=2.0),
        window(9.0, images=50, power_w=4.0, max_power_w=4.2),
    )
    assert measurement.latency_ms == pytest.approx(2.0)
    assert measurement.mean_ms == pytest.approx((100 * 1.0 + 100 * 2.0 + 50 * 9.0) / 250)
    assert measurement.p90_ms == pytest.approx(4.0)
    assert measurement.image_ms == pytest.approx(20.0)
    assert measurement.power_w == pytest.approx(4.0)
    assert measurement.max_power_w == pytest.approx(6.0)
    assert measurement.energy_mj == pytest.approx(80.0)  # 40, 100 and 80 mJ
    assert measurement.spread == pytest.approx((5.5 - 1.5) / 2.0)


def test_one_odd_window_in_five_does_not_count_as_unsteady():
    assert make(window(1.0), window(1.0), window(1.0), window(1.0), window(50.0)).spread == pytest.approx(0.0)


def test_without_power_there_is_no_energy():
    measurement = make(window(1.0))
    assert (measurement.power_w, measurement.max_power_w, measurement.energy_mj) == (None, None, None)
    assert measurement.spread == 0


def test_every_figure_has_its_definition():
    measurement = make(window(1.0))
    for name, sentence in DEFINITIONS.items():
        assert hasattr(measurement, name)
        assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": 0}, "windows must be >= 1, got 0"),
        ({"windows": 2.5}, "windows must be a whole number, got 2.5"),
        ({"passes": -1}, "passes must be >= 0, got -1"),
        ({"threads": 0}, "threads must be >= 1, got 0"),
        ({"warmup_s": -0.1}, "warmup_s must be >= 0 and finite, got -0.1"),
        ({"window_s": 0}, "window_s must be > 0 and finite, got 0"),
        ({"window_s": float("nan")}, "window_s must be > 0 and finite, got nan"),
        ({"window_s": "1"}, "window_s must be a number, got '1'"),
        ({"max_spread": 0.0}, "max_spread must be > 0 and finite, got 0.0"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(UsageError) as caught:
        dataclasses.replace(PLANS["search"], **change)
    assert str(caught.value) == message


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_plans_survive_json(plan):
    assert MeasurePlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@pytest.mark.parametrize("data", [{"windws": 3}, {"name": "x"}, [], None])
def test_a_damaged_plan_is_refused(data):
    with pytest.raises(UsageError):
        MeasurePlan.from_dict(data)


@pytest.mark.parametrize(
    "text", ["", "3", "{}", '{"windows": 3}', '{"windows": [3]}', '{"windows": [{}], "x": 1}']
)
def test_a_damaged_record_is_refused(text):
    with pytest.raises(UsageError):
        Measurement.from_json(text)


def test_windows_are_checked():
    good = dataclasses.asdict(window(1.0, power_w=1.0, max_power_w=1.0))
    for change in (
        {"images": 0},
        {"end_s": 0.0},
        {"power_w": None},
        {"p90_ms": float("nan")},
        {"power_w": -1.0},
    ):
        with pytest.raises(UsageError):
            build_record(Window, {**good, **change})
    with pytest.raises(UsageError, match="every window"):
        make(window(1.0), window(1.0, power_w=1.0, max_power_w=1.0))
    with pytest.raises(UsageError, match="at least one window"):
        make()


class Machine:
    """A clock and a model: set, invoke and get cost 1, 10 and 2 ms."""

    def __init__(self):
        self.now_ns = 0
        self.seen = []

    def spend(self, milliseconds):
        self.now_ns += milliseconds * 1_000_000

    def run(self, plan, frames):
        def set_input(frame):
            self.seen.append(frame)
            self.spend(1)

        subject = Subject(set_input, lambda: self.spend(10), lambda: self.spend(2), frames)
        return time_in_turns([subject], plan, lambda: self.now_ns)[0]


def test_only_invoke_is_timed():
    plan = MeasurePlan("t", warmup_s=0.05, windows=3, window_s=0.1)
    found = Machine().run(plan, [0, 1, 2])
    assert len(found) == 3
    for one in found:
        assert one.length_s >= 0.1
        assert one.mean_ms == pytest.approx(10)
        assert one.p50_ms == one.p90_ms == pytest.approx(10)
        assert one.length_s / one.images == pytest.approx(0.013)


@given(st.integers(1, 5), st.integers(0, 4), st.integers(1, 9))
def test_windows_and_passes_are_both_least_numbers(count, passes, frames):
    machine = Machine()
    found = machine.run(MeasurePlan("t", 0.0, count, 0.03, passes=passes), list(range(frames)))
    timed = machine.seen[1:]
    assert len(found) >= count
    assert len(timed) == sum(one.images for one in found) >= passes * frames
    assert timed == [i % frames for i in range(len(timed))]
    assert all(before.end_s <= after.start_s for before, after in itertools.pairwise(found))


def test_several_subjects_take_turns_and_every_other_round_goes_backwards():
    machine, order = Machine(), []

    def subject(name, milliseconds):
        def invoke():
            order.append(name)
            machine.spend(milliseconds)

        return Subject(lambda frame: None, invoke, lambda: None, [0])

    plan = MeasurePlan("t", warmup_s=0.0, windows=3, window_s=0.001)
    quick, slow = time_in_turns([subject("a", 1), subject("b", 4)], plan, lambda: machine.now_ns)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"  # the warm-up first
    assert [window.mean_ms for window in (*quick, *slow)] == pytest.approx([1, 1, 1, 4, 4, 4])


def test_the_time_limit_follows_its_formula():
    plan = MeasurePlan("t", warmup_s=1.0, windows=4, window_s=2.0, passes=2)
    assert measuring_limit_s(plan, images=100, start_allowance_s=10) == pytest.approx(
        10 + 1 + 0.25 + 4 * 2.25 + 2 * 100 * 0.25
    )
    assert measuring_limit_s(plan, 100, 10, models=2) - measuring_limit_s(plan, 100, 10) == pytest.approx(60.25)


def test_faults_name_value_limit_and_remedy():
    unsteady = find_fault(make(window(1.0), window(1.0), window(5.0), window(5.0), window(5.0)))
    assert unsteady is not None
    assert "80%" in unsteady.message and "50%" in unsteady.message
    assert "close other programs" in unsteady.remedy
    throttled = find_fault(
        make(window(1.0), environment=dataclasses.replace(ENVIRONMENT, throttled="0x50005"))
    )
    assert throttled is not None
    assert "under-voltage, throttled" in throttled.message
    assert (
        find_fault(make(window(1.0), environment=dataclasses.replace(ENVIRONMENT, throttled="0x50000")))
        is None
    )
