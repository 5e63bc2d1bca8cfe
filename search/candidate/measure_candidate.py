"""How fast a candidate is: samples, kept for all studies, and rounds in turns with the best so far.

Speed and energy do not depend on the weights, so an architecture is measured before it is trained. One short
measurement is a sample: other work on the machine makes it slower, for seconds or for minutes.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.spec import CompressionSpec
from compress.versions import conversion_versions
from edge.measuring.measurement import Measurement
from edge.measuring.plan import MeasurePlan
from search.candidate.build import architecture_key, convert_untrained
from search.candidate.context import TrialContext
from search.candidate.phase_timer import PhaseTimer
from search.evaluation import ArchitectureResult, Phase
from search.objective import Objective
from search.strategy.task import Incumbent, Task
from search.strategy.turns_verdict import NEAR, Verdict, advantages, judge

MAX_SLOWDOWN = 1.10
"""A trained model that is this many times slower than its architecture was disturbed: it is measured again."""
MAX_SAMPLES = 3
ARCHITECTURE_IMAGES = 100


def measure_architecture(task: Task, context: TrialContext, timer: PhaseTimer) -> ArchitectureResult:
    """Return the speed of the untrained architecture, and whether it can win against the incumbent's.

    One that looks worse than the incumbent in its own samples is measured in turns with it before it is given up.
    """
    spec = task.spec
    plan = plan_of(context, spec)
    samples = architecture_samples(context, spec, plan)
    if not samples:
        model = convert_untrained(context, spec)
        with timer.phase(Phase.MEASURE_ARCHITECTURE):
            samples = [_sample_architecture(context, spec, plan, model)]
    found = ArchitectureResult(
        macs=spec.architecture().macs,
        best_case=best_case(context.objective, samples),
        samples=tuple(samples),
    )
    incumbent = task.incumbent
    if incumbent is None or context.objective.is_better(found.best_case, incumbent.value):
        return found
    verdict, advantage = compare_in_turns(task, context, incumbent, found.best_case, timer)
    return replace(found, advantage=advantage, can_win=verdict is not Verdict.CANNOT_WIN)


def plan_of(context: TrialContext, spec: CompressionSpec) -> MeasurePlan:
    """Return the plan by which a candidate of this spec is measured in a search."""
    return replace(context.plan, threads=spec.threads)


def architecture_samples(context: TrialContext, spec: CompressionSpec, plan: MeasurePlan) -> list[Measurement]:
    """Return the samples of an architecture that the cache has."""
    return _samples(context, "structures", _architecture_key(context, spec, plan))


def best_case(objective: Objective, samples: Sequence[Measurement]) -> float:
    """Return the objective's value at 100 % accuracy of the best sample, which is the least disturbed one."""
    return objective.best(objective.value_of(sample, 100.0) for sample in samples)


def _sample_architecture(
    context: TrialContext, spec: CompressionSpec, plan: MeasurePlan, model: bytes
) -> Measurement:
    # Trainings do not pause for it: most trials end here, and each would keep the others waiting. Ratios decide.
    return _sample(
        context,
        "structures",
        _architecture_key(context, spec, plan),
        model,
        replace(plan, hold_training=False),
        context.data.validation[0][:ARCHITECTURE_IMAGES],
    )


def compare_in_turns(
    task: Task, context: TrialContext, incumbent: Incumbent, best_case: float, timer: PhaseTimer
) -> tuple[Verdict, float]:
    """Return whether the architecture can win against the incumbent's, and how many times better it is.

    The two are measured in turns, in rounds; earlier rounds of the two count. With different numbers of threads they
    are measured one after the other.

    Args:
        task: The candidate, and by how much it may be worse.
        context: What the trials share.
        incumbent: The best so far.
        best_case: The candidate's best sample, which decides alone where it is hopeless.
        timer: Times the rounds.
    """
    spec = task.spec
    plan = plan_of(context, spec)
    alone = context.objective.advantage(best_case, incumbent.value)
    if alone * hopeless_from(plan) < 1:
        return Verdict.CANNOT_WIN, alone
    turns = turns_plan(plan)
    key = {
        "structure": architecture_key(spec),
        "reference": architecture_key(incumbent.spec),
        "threads": [spec.threads, incumbent.spec.threads],
        "plan": turns.to_dict(),
        "board": context.measured_with,
        **conversion_versions(),
    }
    rounds = [_read_round(sample) for sample in context.cache.samples("turns", key)]
    verdict, advantage = _judge_rounds(context.objective, rounds, incumbent, task.tie)
    while verdict is Verdict.NEAR:
        context.progress.phase(f"architecture, in turns with that of trial {incumbent.number}")
        models = [convert_untrained(context, each) for each in (spec, incumbent.spec)]
        with timer.phase(Phase.MEASURE_ARCHITECTURE):
            found = _measure_in_turns(context, models, (spec.threads, incumbent.spec.threads), turns)
        context.cache.add(json.dumps([asdict(each) for each in found]).encode(), "turns", key)
        rounds.append(found)
        verdict, advantage = _judge_rounds(context.objective, rounds, incumbent, task.tie)
    return verdict, advantage


def _judge_rounds(
    objective: Objective, rounds: Sequence[Sequence[Measurement]], incumbent: Incumbent, tie: float
) -> tuple[Verdict, float]:
    if not rounds:
        return Verdict.NEAR, 1.0
    found = [advantages(objective, own, theirs, incumbent.accuracy_percent) for own, theirs in rounds]
    return judge(found, tie)


def hopeless_from(plan: MeasurePlan) -> float:
    """Return how many times worse on its own sample an architecture must be to be given up without a comparison.

    Seconds of measuring one model have been seen to differ 2.7 times; windows of seconds are hardly disturbed.
    """
    return NEAR if plan.window_s >= 1 else 4.0


def turns_plan(plan: MeasurePlan) -> MeasurePlan:
    """Return the plan for two models in turns: more and shorter windows in place of those of a tenth of a second.

    The ratio of windows of the same number counts, however uneven the windows are.
    """
    uneven = replace(plan, name="turns", max_spread=1e6, hold_training=False)
    if plan.window_s > 0.1:
        return uneven
    return replace(uneven, warmup_s=0.05, windows=2 * plan.windows, window_s=plan.window_s / 4)


def measure_trained(
    task: Task, context: TrialContext, model: bytes, architecture: ArchitectureResult | None
) -> Measurement:
    """Return the best sample of these very bytes; take more where they are slower than their architecture."""
    assert architecture is not None  # a search measures it first
    plan = plan_of(context, task.spec)
    key = _model_key(context, model, plan, "validation")
    samples = _samples(context, "measurements", key)
    max_ms = MAX_SLOWDOWN * min(sample.latency_ms for sample in architecture.samples)
    while not samples or (_latency_ms(samples) > max_ms and len(samples) < MAX_SAMPLES):
        samples.append(_sample(context, "measurements", key, model, plan, context.data.validation[0]))
    return min(samples, key=lambda sample: sample.latency_ms)


def _latency_ms(samples: Sequence[Measurement]) -> float:
    return min(sample.latency_ms for sample in samples)


def measure_on_test_images(context: TrialContext, model: bytes, plan: MeasurePlan) -> Measurement:
    """Measure these very bytes over passes of the test set, without its labels; or return the earlier measurement."""
    key = _model_key(context, model, plan, "test")
    samples = _samples(context, "measurements", key)
    if samples:
        return samples[-1]
    return _sample(context, "measurements", key, model, plan, context.data.test[0])


def _architecture_key(context: TrialContext, spec: CompressionSpec, plan: MeasurePlan) -> dict[str, Any]:
    return {
        "structure": architecture_key(spec),
        "plan": plan.to_dict(),
        "board": context.measured_with,
        **conversion_versions(),
    }


def _model_key(context: TrialContext, model: bytes, plan: MeasurePlan, images: str) -> dict[str, Any]:
    digest = sha256(model).hexdigest()
    return {"model": digest, "plan": plan.to_dict(), "images": images, "board": context.measured_with}


def _samples(context: TrialContext, kind: str, key: dict[str, Any]) -> list[Measurement]:
    return [Measurement.from_json(value.decode()) for value in context.cache.samples(kind, key)]


def _sample(
    context: TrialContext, kind: str, key: dict[str, Any], model: bytes, plan: MeasurePlan, images: NDArray[np.uint8]
) -> Measurement:
    """Take one more measurement and keep it beside the earlier ones."""
    measurement = context.device.measure(model, plan, images)
    context.cache.add(measurement.to_json().encode(), kind, key)
    return measurement


def _read_round(value: bytes) -> list[Measurement]:
    return [Measurement.from_dict(each) for each in json.loads(value)]


def _measure_in_turns(
    context: TrialContext, models: list[bytes], threads: tuple[int, int], plan: MeasurePlan
) -> list[Measurement]:
    images = context.data.validation[0][:ARCHITECTURE_IMAGES]
    if threads[0] == threads[1]:
        return context.device.measure_in_turns(models, replace(plan, threads=threads[0]), images)
    return [
        context.device.measure(model, replace(plan, threads=count), images)
        for model, count in zip(models, threads, strict=True)
    ]
