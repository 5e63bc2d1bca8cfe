"""Time the unpruned base on the device at every start.

Processor, clock and runtime identify a device, but its speed depends on more: a neighbour on the same server, a slow
supply, a governor that was changed for an hour. Where the base is more than TOLERANCE off, earlier measurements do not
count.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.errors import UsageError
from edge.devices.device import Device
from edge.measuring.plan import MeasurePlan
from search.storage.cache import Cache

TOLERANCE = 0.10
FIRST_TRIES, MAX_TRIES = 2, 5
"""The quickest try counts: other work on a machine makes it slower and never faster."""
HOST_INVOKES, DEVICE_INVOKES = 300, 30
"""Some 0.4 s on a host, some 0.6 s on a Raspberry Pi 3B+."""


class Speed(NamedTuple):
    """The speed of the base: `now_ms`, and `space_ms`, under which this device's measurements are kept.

    `line`: what to show the user, or None.
    """

    now_ms: float
    space_ms: float
    line: str | None


def calibration_plan(url: str, shortest_window_s: float) -> MeasurePlan:
    """Return a plan of single invokes, or of one window where the meter needs a longer one."""
    if shortest_window_s > 0.001:
        return MeasurePlan("calibration", warmup_s=0.02, windows=1, window_s=shortest_window_s, max_spread=1e6)
    invokes = HOST_INVOKES if url == "local:" else DEVICE_INVOKES
    return MeasurePlan("calibration", warmup_s=0.02, windows=invokes, window_s=0.001, max_spread=1e6)


def base_speed(device: Device, base: bytes, images: NDArray[np.uint8], known_ms: Sequence[float] = ()) -> float:
    """Return the quickest invoke() of the base in ms; try up to MAX_TRIES times while it is slower than all `known_ms`.

    Single invokes, since these are seldom interrupted: on a host with a load of 7 on two cores the quickest of 300
    varied from 1.08 to 1.13 ms, the quickest mean over 20 ms from 1.69 to 4.54 ms. Of a meter's longer window its
    median counts. Raises as `Device.measure` does.
    """
    plan = calibration_plan(device.url, device.shortest_window_s)
    quickest_ms = float("inf")
    for _ in range(MAX_TRIES if known_ms else FIRST_TRIES):
        measurement = device.measure(base, plan, images)
        quickest_ms = min(quickest_ms, *(window.p50_ms for window in measurement.windows))
        if known_ms and quickest_ms <= (1 + TOLERANCE) * min(known_ms):
            break
    return quickest_ms


def is_same_speed(one_ms: float, other_ms: float) -> bool:
    """Return True where results that were measured at these two speeds of the base can be compared."""
    return max(one_ms, other_ms) <= (1 + TOLERANCE) * min(one_ms, other_ms)


def calibrate(
    device: Device, cache: Cache, device_kind: Mapping[str, str], base_key: str, base: bytes, images: NDArray[np.uint8]
) -> Speed:
    """Time the base on this device now; return under which speed its measurements are kept.

    That is the first known speed within TOLERANCE, or else a new one.

    Args:
        device: The device.
        cache: Where the speeds are kept.
        device_kind: What identifies the device.
        base_key: A hash of the base's weights.
        base: The base as a `.tflite`.
        images: uint8 (N, 32, 32, 3).

    Raises:
        EdgeError: As `Device.measure` does.
    """
    key = {"board": dict(device_kind), "base": base_key}
    known_ms = [float(json.loads(value)) for value in cache.samples("speed", key)]
    now_ms = base_speed(device, base, images, known_ms)
    space_ms = next((ms for ms in known_ms if is_same_speed(now_ms, ms)), None)
    if space_ms is not None:
        return Speed(now_ms, space_ms, None)
    cache.add(json.dumps(now_ms).encode(), "speed", key)
    if not known_ms:
        return Speed(now_ms, now_ms, None)
    before = ", ".join(f"{ms:.4g}" for ms in known_ms)
    line = (
        f"the unpruned base takes {now_ms:.4g} ms here now, and took {before} ms when the cache was filled: more than "
        f"{TOLERANCE:.0%} apart, so architectures are measured anew"
    )
    return Speed(now_ms, now_ms, line)


def check_speed(study_ms: float, now_ms: float, name: str) -> None:
    """Raise UsageError where the study was begun on a device of another speed."""
    if is_same_speed(study_ms, now_ms):
        return
    remedy = "close other programs and try again, or rename the study file"
    if now_ms < study_ms:
        remedy = "rename the study file: what was trained is kept, and measured anew"
    raise UsageError(
        f"the unpruned base takes {now_ms:.4g} ms here now, and took {study_ms:.4g} ms when study {name} began: "
        f"more than {TOLERANCE:.0%} apart, and results must not be mixed; {remedy}"
    )
