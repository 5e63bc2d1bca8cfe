"""Samples of a structure's speed: when they are taken, when they are believed, and where they are kept."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compress.errors import UsageError
from compress.spec import CompressionSpec
from edge.measuring.measurement import Environment, Measurement, Window
from edge.measuring.plan import PLANS, MeasurePlan
from search.cache import Cache
from search.candidate.architecture_speed import (
    MAX_SAMPLES,
    Incumbent,
    best_case,
    compare_in_turns,
    known_samples,
    measure_structure,
    measure_trained,
    turns_plan,
)
from search.candidate.calibration import FIRST_TRIES, MAX_TRIES, Speed, calibrate, check_speed
from search.strategy.turns_verdict import MAX_ROUNDS, Verdict

PLAN = PLANS["search"]
SPEC = CompressionSpec(dropped_blocks=tuple(range(2, 13)), stem_stride=4)
BEST = Incumbent(7, 0.010, replace(SPEC, stem_stride=2), 71.0)
ENVIRONMENT = Environment(*("x86",) * 3, 2, *("x",) * 3, *(None,) * 5)


def measured(ms: float, plan: MeasurePlan = PLAN) -> Measurement:
    windows = tuple(Window(n, n + 1.0, 1000, ms, ms, ms) for n in range(plan.windows))
    return Measurement("a" * 64, 1, plan, windows, 40.0, 2.0, 1.0, ENVIRONMENT, "local:", "none", False)


class Scripted:
    """A device that takes the times it is told: one for each measurement, a pair for each round in turns."""

    url, shortest_window_s = "local:", 0.0

    def __init__(self, *singly: float, turns: Sequence[tuple[float, float]] = ()) -> None:
        self.singly, self.turns = iter(singly), iter(turns)

    def measure(self, model: bytes, plan: MeasurePlan, images: Any) -> Measurement:
        return measured(next(self.singly), plan)

    def measure_in_turns(self, models: list[bytes], plan: MeasurePlan, images: Any) -> list[Measurement]:
        return [measured(ms, plan) for ms in next(self.turns)]


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    """What `search.candidate.architecture_speed` needs of a bench; its structures are converted to a few bytes."""
    images = np.zeros((5, 32, 32, 3), np.uint8)
    return SimpleNamespace(
        cache=Cache(tmp_path / "cache"),
        device_key={"cpu": "x86"},
        data=SimpleNamespace(validation=(images, None), key="data"),
        progress=SimpleNamespace(phase=lambda text: None),
        config=SimpleNamespace(road="latency"),
        device=Scripted(),
    )


@pytest.fixture(autouse=True)
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.candidate.architecture_speed.structure_model", lambda bench, spec: b"a model")


@pytest.fixture
def clock() -> Iterator[Any]:
    from contextlib import nullcontext

    yield SimpleNamespace(phase=lambda name: nullcontext())


def test_a_structure_is_measured_once_for_all_studies(bench: Any, clock: Any) -> None:
    bench.device = Scripted(0.020)
    assert known_samples(bench, SPEC, PLAN) == []
    (sample,) = measure_structure(bench, SPEC, PLAN, clock)
    assert sample.latency_ms == 0.020
    assert measure_structure(bench, replace(SPEC, epochs=9), PLAN, clock) == [sample]  # of other weights
    assert known_samples(bench, replace(SPEC, stem_stride=1), PLAN) == []
    bench.device_key = {"cpu": "another"}
    assert known_samples(bench, SPEC, PLAN) == []


def test_the_best_sample_speaks_for_a_structure() -> None:
    samples = [measured(0.03), measured(0.02), measured(0.05)]
    assert best_case("latency", samples) == 0.02


def test_a_structure_far_behind_is_given_up_after_one_round(bench: Any, clock: Any) -> None:
    bench.device = Scripted(turns=[(0.020, 0.010)])
    assert compare_in_turns(bench, SPEC, BEST, PLAN, 0.0, 1.2, clock)[0] is Verdict.CANNOT_WIN


def test_one_disturbed_round_gives_nothing_up(bench: Any, clock: Any) -> None:
    """The first round says 10 % slower, the others 10 % faster: all of them decide."""
    bench.device = Scripted(turns=[(0.011, 0.010), (0.009, 0.010), (0.009, 0.010)])
    assert compare_in_turns(bench, SPEC, BEST, PLAN, 0.0, 1.2, clock)[0] is Verdict.CAN_WIN


def test_rounds_are_kept_and_count_for_the_next_who_asks(bench: Any, clock: Any) -> None:
    bench.device = Scripted(turns=[(0.011, 0.010)] * MAX_ROUNDS)
    assert compare_in_turns(bench, SPEC, BEST, PLAN, 0.0, 1.2, clock)[0] is Verdict.CANNOT_WIN
    assert compare_in_turns(bench, SPEC, BEST, PLAN, 0.0, 1.2, clock)[0] is Verdict.CANNOT_WIN  # by what is known
    bench.device = Scripted(turns=[(0.009, 0.010)])
    other = replace(BEST, spec=replace(BEST.spec, stem_stride=1))
    assert compare_in_turns(bench, SPEC, other, PLAN, 0.0, 1.2, clock)[0] is Verdict.CAN_WIN


def test_other_threads_are_measured_one_after_the_other(bench: Any, clock: Any) -> None:
    bench.device = Scripted(0.009, 0.010)
    two = replace(SPEC, threads=2)
    assert compare_in_turns(bench, two, BEST, PLAN, 0.0, 1.2, clock)[0] is Verdict.CAN_WIN


def test_a_meter_keeps_its_long_windows_in_turns() -> None:
    assert turns_plan(PLANS["metered"]).window_s == PLANS["metered"].window_s
    short = turns_plan(PLAN)
    assert short.windows * short.window_s < PLAN.windows * PLAN.window_s


def test_a_trained_model_that_is_slower_than_its_structure_was_is_measured_again(bench: Any) -> None:
    structure = [measured(0.030), measured(0.010)]
    bench.device = Scripted(0.015, 0.0105)
    assert measure_trained(bench, b"trained", PLAN, structure).latency_ms == 0.0105
    assert measure_trained(bench, b"trained", PLAN, structure).latency_ms == 0.0105  # kept
    bench.device = Scripted(*[0.02] * MAX_SAMPLES)
    assert measure_trained(bench, b"slow", PLAN, structure).latency_ms == 0.02  # it is slower, and that is that


def test_what_is_hopeless_is_not_compared(bench: Any, clock: Any) -> None:
    assert compare_in_turns(bench, SPEC, BEST, PLAN, 0.0, 5.0, clock) == (Verdict.CANNOT_WIN, 0.2)
    metered = PLANS["metered"]  # half a minute a sample, and hardly disturbed
    assert compare_in_turns(bench, SPEC, BEST, metered, 0.0, 1.5, clock)[0] is Verdict.CANNOT_WIN


def test_samples_of_other_conversions_are_not_taken(bench: Any, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.device = Scripted(0.020)
    measure_structure(bench, SPEC, PLAN, clock)
    monkeypatch.setattr("compress.versions.CONVERSION_VERSION", 99)
    assert known_samples(bench, SPEC, PLAN) == []


BOARD = {"cpu": "x86"}


def test_the_speed_of_the_base_opens_a_new_space_of_measurements_and_says_so(tmp_path: Path) -> None:
    cache, images = Cache(tmp_path), np.zeros((1, 32, 32, 3), np.uint8)

    def start(*ms: float) -> Speed:
        return calibrate(Scripted(*ms), cache, BOARD, "base", b"model", images)  # type: ignore[arg-type]

    assert start(4.5, 4.0) == (4.0, 4.0, None)
    assert start(4.3) == (4.3, 4.0, None)
    assert start(5.0, 4.2) == (4.2, 4.0, None)  # disturbed once
    now_ms, space_ms, line = start(*[9.0] * MAX_TRIES)
    assert (now_ms, space_ms) == (9.0, 9.0)
    assert line is not None and "takes 9 ms here now, and took 4 ms" in line and "measured anew" in line
    assert start(8.9, 4.1) == (4.1, 4.0, None)  # as slow as then at first: the fastest known speed is sought
    assert start(2.0)[1] == 2.0  # a faster processor at once
    assert calibrate(Scripted(*[9.0] * FIRST_TRIES), cache, {"cpu": "arm"}, "base", b"", images)[1] == 9.0  # type: ignore[arg-type]


def test_the_first_of_two_speeds_that_both_fit_is_taken(tmp_path: Path) -> None:
    cache, images = Cache(tmp_path), np.zeros((1, 32, 32, 3), np.uint8)
    for known in (b"1.00", b"1.12"):
        cache.add(known, "speed", {"board": BOARD, "base": "base"})
    assert calibrate(Scripted(1.07), cache, BOARD, "base", b"", images) == (1.07, 1.0, None)  # type: ignore[arg-type]


def test_a_study_is_not_continued_at_another_speed() -> None:
    check_speed(4.0, 4.39, "mine")
    with pytest.raises(UsageError, match="takes 4.5 ms here now, and took 4 ms when study mine was begun.*close other"):
        check_speed(4.0, 4.5, "mine")
    with pytest.raises(UsageError, match="takes 3 ms .*rename the study file: what was trained is kept"):
        check_speed(4.0, 3.0, "mine")
