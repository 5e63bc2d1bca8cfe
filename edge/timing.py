"""The timed loop, without interpreter and without processes: three callables, a plan and a clock."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from edge.measurement import Window
from edge.plan import MeasurePlan

_Frame = TypeVar("_Frame")


def time_windows(
    set_input: Callable[[_Frame], object],
    invoke: Callable[[], object],
    get_output: Callable[[], object],
    frames: Sequence[_Frame],
    plan: MeasurePlan,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> list[Window]:
    """Warms up, then times windows by the plan, one frame at a time and round again from the first.

    Only `invoke` lies between two looks at the clock; `set_input` and `get_output` count towards the window's
    length. The clock is CLOCK_MONOTONIC, which a power meter's readings share. Raises what the callables
    raise.
    """
    warm_until_ns = clock_ns() + round(plan.warmup_s * 1e9)
    while True:
        set_input(frames[0])
        invoke()
        get_output()
        if clock_ns() >= warm_until_ns:
            break

    windows: list[Window] = []
    position = 0
    done = 0
    while len(windows) < plan.windows or done < plan.passes * len(frames):
        times_ns: list[int] = []
        start_ns = clock_ns()
        end_after_ns = start_ns + round(plan.window_s * 1e9)
        while True:
            set_input(frames[position])
            before_ns = clock_ns()
            invoke()
            after_ns = clock_ns()
            get_output()
            times_ns.append(after_ns - before_ns)
            position += 1
            if position == len(frames):
                position = 0
            if after_ns >= end_after_ns:
                break
        end_ns = clock_ns()
        done += len(times_ns)
        windows.append(_summarise(start_ns, end_ns, times_ns))
    return windows


def _summarise(start_ns: int, end_ns: int, times_ns: list[int]) -> Window:
    p50_ns, p90_ns = np.percentile(times_ns, [50, 90])
    return Window(
        start_s=start_ns / 1e9,
        end_s=end_ns / 1e9,
        images=len(times_ns),
        invoke_s=sum(times_ns) / 1e9,
        p50_ms=float(p50_ns) / 1e6,
        p90_ms=float(p90_ns) / 1e6,
    )
