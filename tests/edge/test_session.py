"""From an attempt to a verdict: what is believed, what is repeated, what is kept of it, and how it is weighed."""

from dataclasses import replace

import pytest

from edge.errors import EdgeError, InvalidMeasurementError, UnavailableError
from edge.measuring.attempts import find_fault, measure_until_trusted, weigh
from edge.measuring.measurement import Attempt, Environment, Idle, Measurement, Window
from edge.measuring.plan import MeasurePlan
from edge.meters.readings import Power

PLAN = MeasurePlan("three", warmup_s=0.0, windows=2, window_s=1.0, max_spread=0.2, attempts=3, pause_s=7.0)
ENVIRONMENT = Environment(
    host="pi", machine="aarch64", cpu="Cortex-A53", cores=4, os="Debian 12", python="3.11.2", runtime="r",
    delegate="XNNPACK", governor="performance", clock_mhz=1400.0, temperature_c=50.0, throttled="0x0",
)  # fmt: skip


def measured(*invoke_s: float, throttled: str = "0x0") -> Measurement:
    """Windows of a second and 100 images each, from second 10 on, with so many seconds inside invoke()."""
    windows = tuple(Window(10.0 + n, 11.0 + n, 100, each, 1.0, 1.0) for n, each in enumerate(invoke_s))
    return Measurement(
        "a" * 64, 1000, PLAN, windows, 40.0, 2.0, 1.0, replace(ENVIRONMENT, throttled=throttled), "local:", "none",
        estimated=False, idle=Idle(1.0, 9.0),
    )  # fmt: skip


def attempts(*results: Measurement | EdgeError):
    given = iter(results)

    def attempt() -> list[Measurement]:
        result = next(given)
        if isinstance(result, EdgeError):
            raise result
        return [result]

    return attempt


STEADY, UNSTEADY, THROTTLED = measured(0.5, 0.5), measured(0.5, 0.9), measured(0.5, 0.5, throttled="0x4")


def test_a_steady_measurement_is_believed_at_once():
    pauses: list[float] = []
    assert measure_until_trusted(attempts(STEADY), PLAN, pauses.append) == [STEADY]
    assert pauses == []


def test_what_is_not_believed_is_repeated_after_a_pause_and_kept():
    pauses: list[float] = []
    gap = InvalidMeasurementError("3 readings are missing")
    (result,) = measure_until_trusted(attempts(UNSTEADY, gap, STEADY), PLAN, pauses.append)
    assert pauses == [7.0, 7.0]
    unsteady, gappy = result.rejected
    assert "spread over 29% of their median, the limit is 20%" in unsteady.fault
    assert unsteady.windows == UNSTEADY.windows
    assert gappy == Attempt("3 readings are missing")
    assert replace(result, rejected=()) == STEADY
    assert Measurement.from_json(result.to_json()) == result


def test_of_several_models_all_are_believed_or_none():
    given = iter([[STEADY, UNSTEADY], [STEADY, STEADY]])
    results = measure_until_trusted(lambda: next(given), PLAN, lambda seconds: None)
    assert [result.rejected[0].windows for result in results] == [STEADY.windows, UNSTEADY.windows]
    assert all("spread over 29%" in result.rejected[0].fault for result in results)


def test_a_device_that_was_not_at_rest_is_not_believed():
    for power_w, believed in ((4.0, True), (3.0, False)):
        restless = replace(STEADY, idle=Idle(1.0, 9.0, power_w, 4.8))
        fault = find_fault(restless)
        assert fault is None if believed else "not at rest before: 4.80 W at most" in str(fault)


@pytest.mark.parametrize(("last", "words"), [(UNSTEADY, "spread over"), (THROTTLED, "held back \\(throttled\\)")])
def test_after_the_last_attempt_the_reason_is_told(last, words):
    with pytest.raises(InvalidMeasurementError, match=f"{words}.*\\(3 attempts\\); "):
        measure_until_trusted(attempts(UNSTEADY, THROTTLED, last), PLAN, lambda seconds: None)


def test_a_rig_that_is_gone_is_not_asked_again():
    gone = UnavailableError("no reading for 5.0 s")
    with pytest.raises(UnavailableError, match="no reading"):
        measure_until_trusted(attempts(gone), PLAN, lambda seconds: None)


class Steps:
    """2.8 W up to second 9.5 of its own clock, 4.8 W after it; it remembers what it was asked."""

    url, estimated, shortest_window_s = "steps:", False, 0.0

    def __init__(self):
        self.asked = []

    def power(self, start_s, end_s):
        self.asked.append((start_s, end_s))
        watts = 4.8 if start_s >= 9.5 else 2.8
        return Power(watts, watts + 0.1, 5)


def test_gross_and_net_energy_come_from_the_same_windows():
    found = weigh(STEADY, Steps())
    assert (found.power_w, found.max_power_w, found.idle_power_w) == pytest.approx((4.8, 4.9, 2.8))
    assert found.energy_mj == pytest.approx(4.8 * 10)  # a second for 100 images
    assert found.net_energy_mj == pytest.approx(2.0 * 10)
    assert (found.meter, found.estimated) == ("steps:", False)


def test_another_clock_is_allowed_for_and_what_is_uncertain_is_cut_off():
    meter = Steps()
    weigh(STEADY, meter, ahead_s=100.0, uncertain_s=0.25)
    assert meter.asked == [(110.25, 110.75), (111.25, 111.75), (101.25, 108.75)]
