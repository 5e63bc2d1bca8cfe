"""How fast the device is now: the unpruned base on it at every start.

A board is known by its processor, its clock and its runtime, but these do not tell all: a neighbour on the same
server, a slow supply, a governor that was changed for an hour. Where the base is more than TOLERANCE off, what was
measured before does not count.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from compress.errors import UsageError
from edge import Device, MeasurePlan
from search.cache import Cache

TOLERANCE = 0.10
FIRST_TRIES, MAX_TRIES = 2, 5
"""What else runs on a machine makes it slower and never faster: the quickest of so many tries counts."""


def calibration_plan(shortest_window_s: float) -> MeasurePlan:
    """300 single invokes, or one window of a meter that needs a longer one."""
    if shortest_window_s > 0.001:
        return MeasurePlan("calibration", warmup_s=0.02, windows=1, window_s=shortest_window_s, max_spread=1e6)
    return MeasurePlan("calibration", warmup_s=0.02, windows=300, window_s=0.001, max_spread=1e6)


def base_speed(device: Device, base: bytes, images: NDArray[np.uint8], known_ms: Sequence[float] = ()) -> float:
    """The quickest invoke() of the base in ms; measured again, up to MAX_TRIES times, while it is none of `known_ms`.

    Single invokes, since these are seldom interrupted: on a host with a load of 7 on two cores the quickest of 300
    varied from 1.08 to 1.13 ms, the quickest mean over 20 ms from 1.69 to 4.54 ms. Raises as `Device.measure` does.
    """
    plan = calibration_plan(device.shortest_window_s)
    quickest_ms = float("inf")
    for _ in range(MAX_TRIES if known_ms else FIRST_TRIES):
        measurement = device.measure(base, plan, images)
        quickest_ms = min(quickest_ms, *(window.mean_ms for window in measurement.windows))
        if any(is_same_speed(quickest_ms, ms) for ms in known_ms):
            break
    return quickest_ms


def is_same_speed(one_ms: float, other_ms: float) -> bool:
    """Whether results that were measured at these two speeds of the base may stand beside each other."""
    return max(one_ms, other_ms) <= (1 + TOLERANCE) * min(one_ms, other_ms)


def measured_at(cache: Cache, board: Mapping[str, str], base_key: str) -> list[float]:
    """The speeds of the base, in ms, at which this kind of board has measured what the cache holds."""
    return [float(json.loads(value)) for value in cache.samples("speed", {"board": dict(board), "base": base_key})]


def calibrate(
    device: Device, cache: Cache, board: Mapping[str, str], base_key: str, base: bytes, images: NDArray[np.uint8]
) -> tuple[float, str | None]:
    """The speed of the base, in ms, under which this board's measurements are kept, and a line where it is a new one.

    It is that of an earlier start, where the base is within TOLERANCE of it now. Raises as `Device.measure` does.
    """
    known_ms = measured_at(cache, board, base_key)
    now_ms = base_speed(device, base, images, known_ms)
    same_ms = [ms for ms in known_ms if is_same_speed(now_ms, ms)]
    if same_ms:
        return min(same_ms, key=lambda ms: abs(ms - now_ms)), None
    cache.add(json.dumps(now_ms).encode(), "speed", {"board": dict(board), "base": base_key})
    if not known_ms:
        return now_ms, None
    before = ", ".join(f"{ms:.4g}" for ms in known_ms)
    return now_ms, (
        f"the unpruned base takes {now_ms:.4g} ms here now, and took {before} ms when what the cache holds was "
        f"measured: more than {TOLERANCE:.0%} apart, so structures are measured anew"
    )


def check_speed(study_ms: float, now_ms: float, name: str) -> None:
    """Raises UsageError where a study was begun on a board of another speed."""
    if not is_same_speed(study_ms, now_ms):
        raise UsageError(
            f"the unpruned base takes {now_ms:.4g} ms here now, and took {study_ms:.4g} ms when study {name} was "
            f"begun: more than {TOLERANCE:.0%} apart, and results must not be mixed; close other programs and try "
            "again, or rename the study file"
        )
