"""Samples of an architecture's speed: when they are taken, when they are believed, and where they are kept."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scripted_device import PLAN, Scripted, measured

from compress.spec import CompressionSpec
from edge.measuring.plan import PLANS
from search.candidate.measure_candidate import (
    MAX_SAMPLES,
    architecture_samples,
    best_case,
    compare_in_turns,
    measure_architecture,
    measure_trained,
    plan_of,
    turns_plan,
)
from search.evaluation import ArchitectureResult
from search.objective import Objective
from search.storage.cache import Cache
from search.strategy.task import Incumbent, Requirements, Task
from search.strategy.turns_verdict import MAX_ROUNDS, Verdict

SPEC = CompressionSpec(dropped_blocks=tuple(range(2, 13)), stem_stride=4)
BEST = Incumbent(7, 0.010, replace(SPEC, stem_stride=2), 71.0)
TIMER: Any = SimpleNamespace(phase=lambda phase: nullcontext())


@pytest.fixture
def context(tmp_path: Path) -> Any:
    """What `search.candidate.measure_candidate` needs of a context; its architectures are converted to a few bytes."""
    images = np.zeros((5, 32, 32, 3), np.uint8)
    return SimpleNamespace(
        cache=Cache(tmp_path / "cache"),
        measured_with={"cpu": "x86"},
        data=SimpleNamespace(validation=(images, None), key="data"),
        progress=SimpleNamespace(phase=lambda text: None),
        objective=Objective.LATENCY,
        plan=PLAN,
        device=Scripted(),
    )


@pytest.fixture(autouse=True)
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.candidate.measure_candidate.convert_untrained", lambda context, spec: b"a model")


def task(spec: CompressionSpec = SPEC, incumbent: Incumbent | None = None, tie: float = 0.0) -> Task:
    return Task(spec, Requirements(70.0, 71.0, 0.0), incumbent=incumbent, tie=tie)


def samples(context: Any, spec: CompressionSpec) -> list[Any]:
    return architecture_samples(context, spec, plan_of(context, spec))


def verdict_of(
    context: Any, *, slower: float = 1.2, spec: CompressionSpec = SPEC, incumbent: Incumbent = BEST, tie: float = 0.0
) -> Verdict:
    """Compare in turns; `slower`: how many times slower than the best the architecture's best sample is."""
    return compare_in_turns(task(spec, tie=tie), context, incumbent, slower * incumbent.value, TIMER)[0]


def test_an_architecture_is_measured_once_for_all_studies(context: Any) -> None:
    context.device = Scripted(0.020)
    assert samples(context, SPEC) == []
    found = measure_architecture(task(), context, TIMER)
    assert found.measurement.latency_ms == found.best_case == 0.020
    assert (found.macs, found.advantage, found.can_win) == (SPEC.architecture().macs, None, True)
    again = measure_architecture(task(replace(SPEC, epochs=9)), context, TIMER)  # of other weights
    assert again.samples == found.samples and len(found.samples) == 1
    assert samples(context, replace(SPEC, stem_stride=1)) == []
    context.measured_with = {"cpu": "another"}
    assert samples(context, SPEC) == []


def test_the_best_sample_speaks_for_an_architecture() -> None:
    assert best_case(Objective.LATENCY, [measured(0.03), measured(0.02), measured(0.05)]) == 0.02


def test_an_architecture_that_looks_better_than_the_best_needs_no_comparison(context: Any) -> None:
    context.device = Scripted(0.009)
    found = measure_architecture(task(incumbent=BEST), context, TIMER)
    assert (found.can_win, found.advantage) == (True, None)


@pytest.mark.parametrize(("turns", "can_win"), [((0.009, 0.010), True), ((0.020, 0.010), False)])
def test_one_that_looks_worse_is_compared_in_turns(
    context: Any, turns: tuple[float, float], can_win: bool
) -> None:
    context.device = Scripted(0.012, turns=[turns])
    found = measure_architecture(task(incumbent=BEST), context, TIMER)
    assert found.can_win is can_win
    assert found.advantage == pytest.approx(turns[1] / turns[0])


def test_an_architecture_far_behind_is_given_up_after_one_round(context: Any) -> None:
    context.device = Scripted(turns=[(0.020, 0.010)])
    assert verdict_of(context) is Verdict.CANNOT_WIN


def test_one_disturbed_round_gives_nothing_up(context: Any) -> None:
    """The first round says 10 % slower, the others 10 % faster: all of them decide."""
    context.device = Scripted(turns=[(0.011, 0.010), (0.009, 0.010), (0.009, 0.010)])
    assert verdict_of(context) is Verdict.CAN_WIN


def test_a_tie_may_still_win(context: Any) -> None:
    context.device = Scripted(turns=[(0.0101, 0.010)])
    assert verdict_of(context, tie=0.02) is Verdict.CAN_WIN


def test_rounds_are_kept_and_count_for_the_next_comparison(context: Any) -> None:
    context.device = Scripted(turns=[(0.011, 0.010)] * MAX_ROUNDS)
    assert verdict_of(context) is Verdict.CANNOT_WIN
    assert verdict_of(context) is Verdict.CANNOT_WIN  # by what is known
    context.device = Scripted(turns=[(0.009, 0.010)])
    other = replace(BEST, spec=replace(BEST.spec, stem_stride=1))
    assert verdict_of(context, incumbent=other) is Verdict.CAN_WIN


def test_other_threads_are_measured_one_after_the_other(context: Any) -> None:
    context.device = Scripted(0.009, 0.010)
    assert verdict_of(context, spec=replace(SPEC, threads=2)) is Verdict.CAN_WIN


def test_a_meter_keeps_its_long_windows_in_turns() -> None:
    assert turns_plan(PLANS["metered"]).window_s == PLANS["metered"].window_s
    short = turns_plan(PLAN)
    assert short.windows * short.window_s < PLAN.windows * PLAN.window_s


def test_a_trained_model_that_is_slower_than_its_architecture_was_is_measured_again(context: Any) -> None:
    found = ArchitectureResult(1, 0.010, (measured(0.030), measured(0.010)))
    context.device = Scripted(0.015, 0.0105)
    assert measure_trained(task(), context, b"trained", found).latency_ms == 0.0105
    assert measure_trained(task(), context, b"trained", found).latency_ms == 0.0105  # kept
    context.device = Scripted(*[0.02] * MAX_SAMPLES)
    assert measure_trained(task(), context, b"slow", found).latency_ms == 0.02  # it is slower, and that is that


def test_what_is_hopeless_is_not_compared(context: Any) -> None:
    verdict, advantage = compare_in_turns(task(), context, BEST, 0.05, TIMER)
    assert (verdict, advantage) == (Verdict.CANNOT_WIN, pytest.approx(0.2))
    context.plan = PLANS["metered"]  # half a minute a sample, and hardly disturbed
    assert verdict_of(context, slower=1.5) is Verdict.CANNOT_WIN


def test_samples_of_other_conversions_are_not_taken(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    context.device = Scripted(0.020)
    measure_architecture(task(), context, TIMER)
    assert len(samples(context, SPEC)) == 1
    monkeypatch.setattr("compress.versions.CONVERSION_VERSION", 99)
    assert samples(context, SPEC) == []
