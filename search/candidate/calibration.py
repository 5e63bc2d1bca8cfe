"""How fast the device is now: the unpruned base on it at every start.

A board is known by its processor, its clock and its runtime, but these do not tell all: a neighbour on the same
server, a slow supply, a governor that was changed for an hour. Where the base is more than TOLERANCE off, what was
measured before does not count.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.errors import UsageError
from edge.devices.device import Device
from edge.measuring.plan import MeasurePlan
from search.cache import Cache

TOLERANCE = 0.10
FIRST_TRIES, MAX_TRIES = 2, 5
"""What else runs on a machine makes it slower and never faster: the quickest of so many tries counts."""
HOST_INVOKES, BOARD_INVOKES = 300, 30
"""Some 0.4 s on a host, some 0.6 s on a Raspberry Pi 3B+."""


class Speed(NamedTuple):
    """How fast the base is: `now_ms`, and `space_ms`, under which this board's measurements are kept.

    `line`: what a user should hear of it, or None.
    """

    now_ms: float
    space_ms: float
    line: str | None


def calibration_plan(url: str, shortest_window_s: float) -> MeasurePlan:
    """Single invokes, or one window of a meter that needs a longer one."""
    if shortest_window_s > 0.001:
        return MeasurePlan("calibration", warmup_s=0.02, windows=1, window_s=shortest_window_s, max_spread=1e6)
    invokes = HOST_INVOKES if url == "local:" else BOARD_INVOKES
    return MeasurePlan("calibration", warmup_s=0.02, windows=invokes, window_s=0.001, max_spread=1e6)


def base_speed(device: Device, base: bytes, images: NDArray[np.uint8], known_ms: Sequence[float] = ()) -> float:
    """The quickest invoke() of the base in ms; measured again, up to MAX_TRIES times, while slower than all `known_ms`.

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
    """Whether results that were measured at these two speeds of the base may stand beside each other."""
    return max(one_ms, other_ms) <= (1 + TOLERANCE) * min(one_ms, other_ms)


def calibrate(
    device: Device, cache: Cache, board: Mapping[str, str], base_key: str, base: bytes, images: NDArray[np.uint8]
) -> Speed:
    """How fast the base is on this board now, and under which speed its measurements are kept.

    That is the first one that was noted within TOLERANCE, or else a new one. Raises as `Device.measure` does.
    """
    key = {"board": dict(board), "base": base_key}
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
        f"the unpruned base takes {now_ms:.4g} ms here now, and took {before} ms when what the cache holds was "
        f"measured: more than {TOLERANCE:.0%} apart, so structures are measured anew"
    )
    return Speed(now_ms, now_ms, line)


def check_speed(study_ms: float, now_ms: float, name: str) -> None:
    """Raises UsageError where a study was begun on a board of another speed."""
    if is_same_speed(study_ms, now_ms):
        return
    remedy = "close other programs and try again, or rename the study file"
    if now_ms < study_ms:
        remedy = "rename the study file: what was trained is kept, and measured anew"
    raise UsageError(
        f"the unpruned base takes {now_ms:.4g} ms here now, and took {study_ms:.4g} ms when study {name} was begun: "
        f"more than {TOLERANCE:.0%} apart, and results must not be mixed; {remedy}"
    )
