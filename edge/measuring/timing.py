"""The timed loop, without interpreter and without processes: subjects of three callables, a plan and a clock."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from edge.measuring.measurement import Window
from edge.measuring.plan import MeasurePlan

_Frame = TypeVar("_Frame")


@dataclass(frozen=True)
class Subject(Generic[_Frame]):
    """A loaded model to be timed, and the frames that it is given one after the other, in circles."""

    set_input: Callable[[_Frame], object]
    invoke: Callable[[], object]
    get_output: Callable[[], object]
    frames: Sequence[_Frame]


def time_in_turns(
    subjects: Sequence[Subject[Any]], plan: MeasurePlan, clock_ns: Callable[[], int] = time.monotonic_ns
) -> list[list[Window]]:
    """Warm up each subject, then time windows in turns: A B, B A, A B, ...; return the windows of each subject.

    Every other round goes backwards, so that a machine that becomes slower favours none. Only `invoke` is between
    two readings of the clock; `set_input` and `get_output` count towards the window's length. The clock is
    CLOCK_MONOTONIC, which a power meter's readings share. Raises what the callables raise.
    """
    for subject in subjects:
        _warm_up(subject, plan, clock_ns)
    windows: list[list[Window]] = [[] for _ in subjects]
    images = [0] * len(subjects)
    order = list(range(len(subjects)))
    while any(_wants_more(plan, windows[at], images[at], len(subjects[at].frames)) for at in order):
        for at in order:
            window = _time_window(subjects[at], images[at], plan, clock_ns)
            windows[at].append(window)
            images[at] += window.images
        order.reverse()
    return windows


def _warm_up(subject: Subject[Any], plan: MeasurePlan, clock_ns: Callable[[], int]) -> None:
    warm_until_ns = clock_ns() + round(plan.warmup_s * 1e9)
    while True:
        subject.set_input(subject.frames[0])
        subject.invoke()
        subject.get_output()
        if clock_ns() >= warm_until_ns:
            return


def _wants_more(plan: MeasurePlan, windows: Sequence[Window], images: int, frames: int) -> bool:
    return len(windows) < plan.windows or images < plan.passes * frames


def _time_window(subject: Subject[Any], done: int, plan: MeasurePlan, clock_ns: Callable[[], int]) -> Window:
    """Time one window; it begins with the frame after the first `done` ones."""
    set_input, invoke, get_output, frames = subject.set_input, subject.invoke, subject.get_output, subject.frames
    position = done % len(frames)
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
            return _summarise(start_ns, clock_ns(), times_ns)


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
