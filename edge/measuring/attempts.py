"""Repeat attempts until one can be trusted, the same for a device here and one behind a wire."""

from collections.abc import Callable
from dataclasses import replace

from edge.errors import InvalidMeasurementError
from edge.measuring.environment import throttling_now
from edge.measuring.measurement import Attempt, Measurement
from edge.measuring.plan import MeasurePlan
from edge.meters.meter import Meter

MAX_IDLE_PEAK = 1.25
"""Largest reading at rest over the mean: a meter that averages over a quarter of each second misses what comes and
goes. The housekeeping of a Pi is less."""


def measure_until_trusted(
    attempt: Callable[[], list[Measurement]], plan: MeasurePlan, sleep: Callable[[float], object]
) -> list[Measurement]:
    """Repeat `attempt` until no measurement has a fault; each keeps the attempts that were rejected before.

    Raises InvalidMeasurementError when the plan's last attempt cannot be trusted either, and what `attempt` raises.
    """
    rejected: list[list[Attempt]] = []
    while True:
        try:
            measurements = attempt()
        except InvalidMeasurementError as error:
            fault = error
            rejected.append([Attempt(str(fault))])
        else:
            faults = [found for found in map(find_fault, measurements) if found is not None]
            if not faults:
                return [
                    replace(measurement, rejected=tuple(each[min(number, len(each) - 1)] for each in rejected))
                    for number, measurement in enumerate(measurements)
                ]
            fault = faults[0]
            rejected.append([Attempt(str(fault), measurement.windows) for measurement in measurements])
        if len(rejected) == plan.attempts:
            message = f"{fault.message} ({plan.attempts} attempts)"
            raise InvalidMeasurementError(message, remedy=fault.remedy)
        sleep(plan.pause_s)


def find_fault(measurement: Measurement) -> InvalidMeasurementError | None:
    """Return why a measurement cannot be trusted, or None."""
    throttling = throttling_now(measurement.environment.throttled)
    if throttling:
        return InvalidMeasurementError(
            f"the processor is held back ({', '.join(throttling)})",
            remedy="let it cool down or use a stronger supply",
        )
    idle = measurement.idle
    if idle is not None and idle.power_w and idle.max_power_w and idle.max_power_w > MAX_IDLE_PEAK * idle.power_w:
        return InvalidMeasurementError(
            f"the device was not at rest before: {idle.max_power_w:.2f} W at most, "
            f"{idle.power_w:.2f} W on average, the limit is {MAX_IDLE_PEAK:g} times that",
            remedy="end what else runs there",
        )
    limit = measurement.plan.max_spread
    if measurement.spread > limit:
        return InvalidMeasurementError(
            f"the windows' mean latencies spread over {measurement.spread:.0%} of their median, "
            f"the limit is {limit:.0%}",
            remedy="close other programs or raise the plan's max_spread",
        )
    return None


def weigh(measurement: Measurement, meter: Meter, ahead_s: float = 0.0, uncertain_s: float = 0.0) -> Measurement:
    """Return the measurement with the meter's power in every window and in the rest before them.

    The meter's clock is `ahead_s` ahead of the device's, +- `uncertain_s`, which is cut off both ends.
    Raises InvalidMeasurementError where readings are missing, UnavailableError when the meter is gone.
    """

    def power(start_s: float, end_s: float) -> tuple[float, float]:
        found = meter.power(start_s + ahead_s + uncertain_s, end_s + ahead_s - uncertain_s)
        return found.mean_w, found.max_w

    windows = []
    for window in measurement.windows:
        mean_w, max_w = power(window.start_s, window.end_s)
        windows.append(replace(window, power_w=mean_w, max_power_w=max_w))
    idle = measurement.idle
    if idle is not None:
        mean_w, max_w = power(idle.start_s, idle.end_s)
        idle = replace(idle, power_w=mean_w, max_power_w=max_w)
    return replace(
        measurement, windows=tuple(windows), idle=idle, meter=meter.url, estimated=meter.estimated
    )
