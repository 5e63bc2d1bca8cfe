"""How fast a structure is: samples of it, kept for all studies, and rounds in turns with the best so far.

Speed and energy do not depend on the weights, so a structure is measured before it is trained. One short measurement is
a sample: what else runs on the machine makes it slower, for seconds or for minutes.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.prune import inherit
from compress.spec import CompressionSpec
from compress.versions import conversion_versions
from edge.measuring.measurement import Measurement
from edge.measuring.plan import MeasurePlan
from search.candidate.context import Bench
from search.candidate.phase_timer import Stopwatch
from search.candidate.train import convert_trained
from search.strategy.early_stopping import objective
from search.strategy.turns_verdict import NEAR, Verdict, advantages, judge

DISTURBED = 1.10
"""A trained model that is this many times slower than its structure was has been disturbed: it is measured again."""
MAX_SAMPLES = 3
STRUCTURE_IMAGES = 100


@dataclass(frozen=True)
class Incumbent:
    """The best so far: what a candidate has to beat."""

    number: int
    value: float
    spec: CompressionSpec
    accuracy_percent: float


def measure_structure(bench: Bench, spec: CompressionSpec, plan: MeasurePlan, clock: Stopwatch) -> list[Measurement]:
    """All samples of the candidate's structure by this plan; one is taken where there is none."""
    samples = known_samples(bench, spec, plan)
    if samples:
        return samples
    model = structure_model(bench, spec)
    key, images = _structure_key(bench, spec, plan), bench.data.validation[0][:STRUCTURE_IMAGES]
    with clock.phase("measure structure"):
        # Trainings beside it go on: most trials end here, and would keep the others waiting. Ratios decide.
        return [_sample(bench, "structures", key, model, replace(plan, hold_training=False), images)]


def known_samples(bench: Bench, spec: CompressionSpec, plan: MeasurePlan) -> list[Measurement]:
    """The samples of the candidate's structure that are there."""
    return _samples(bench, "structures", _structure_key(bench, spec, plan))


def best_case(road: str, samples: Sequence[Measurement]) -> float:
    """The road's value at 100 % accuracy, of the best of the samples: the least disturbed one."""
    values = [objective(road, sample, 100.0) for sample in samples]
    return max(values) if road == "fom" else min(values)


def compare_in_turns(
    bench: Bench,
    spec: CompressionSpec,
    incumbent: Incumbent,
    plan: MeasurePlan,
    tie: float,
    behind: float,
    clock: Stopwatch,
) -> tuple[Verdict, float]:
    """Whether the structure can win against the incumbent's, by rounds in turns, and how many times better it is.

    `behind`: how many times worse its best sample is than the incumbent, which alone decides where that is hopeless.
    Earlier rounds of the two count. With different numbers of threads the two are measured one after the other.
    """
    if behind > hopeless_from(plan):
        return Verdict.CANNOT_WIN, 1 / behind
    turns = turns_plan(plan)
    key = {
        "structure": _structure(spec),
        "reference": _structure(incumbent.spec),
        "threads": [spec.threads, incumbent.spec.threads],
        "plan": turns.to_dict(),
        "board": bench.device_key,
        **conversion_versions(),
    }
    rounds = [_read_round(sample) for sample in bench.cache.samples("turns", key)]

    def verdict() -> tuple[Verdict, float]:
        found = [advantages(bench.config.road, own, theirs, incumbent.accuracy_percent) for own, theirs in rounds]
        return judge(found, tie) if found else (Verdict.NEAR, 1.0)

    while verdict()[0] is Verdict.NEAR:
        bench.progress.phase(f"structure, in turns with trial {incumbent.number}'s")
        models = [structure_model(bench, each) for each in (spec, incumbent.spec)]
        with clock.phase("measure structure"):
            found = _in_turns(bench, models, (spec.threads, incumbent.spec.threads), turns)
        bench.cache.add(json.dumps([asdict(each) for each in found]).encode(), "turns", key)
        rounds.append(found)
    return verdict()


def hopeless_from(plan: MeasurePlan) -> float:
    """From how many times worse on a structure's sample is not compared in turns any more.

    Of one model, seconds of measuring have been seen to differ 2.7 times; windows of seconds are hardly disturbed.
    """
    return NEAR if plan.window_s >= 1 else 4.0


def turns_plan(plan: MeasurePlan) -> MeasurePlan:
    """The plan for two models in turns: in place of windows of a tenth of a second, more and shorter ones.

    However uneven the windows are, it is the ratio of those of the same number that counts.
    """
    if plan.window_s > 0.1:
        return replace(plan, name="turns", max_spread=1e6, hold_training=False)
    shorter = replace(plan, warmup_s=0.05, windows=2 * plan.windows, window_s=plan.window_s / 4)
    return replace(shorter, name="turns", max_spread=1e6, hold_training=False)


def measure_trained(
    bench: Bench, model: bytes, plan: MeasurePlan, structure: Sequence[Measurement]
) -> Measurement:
    """The best sample of these very bytes; one is taken, and more where it is slower than its structure was."""
    key = _model_key(bench, model, plan, "validation")
    samples = _samples(bench, "measurements", key)
    expected_ms = min(sample.latency_ms for sample in structure)

    def is_disturbed() -> bool:
        return min(sample.latency_ms for sample in samples) > DISTURBED * expected_ms

    while not samples or (is_disturbed() and len(samples) < MAX_SAMPLES):
        samples.append(_sample(bench, "measurements", key, model, plan, bench.data.validation[0]))
    return min(samples, key=lambda sample: sample.latency_ms)


def measure_on_test_images(bench: Bench, model: bytes, plan: MeasurePlan) -> Measurement:
    """These very bytes over passes of the test set, whose labels are not looked at; or what was measured before."""
    key = _model_key(bench, model, plan, "test")
    samples = _samples(bench, "measurements", key)
    if samples:
        return samples[-1]
    return _sample(bench, "measurements", key, model, plan, bench.data.test[0])


def structure_model(bench: Bench, spec: CompressionSpec) -> bytes:
    """The `.tflite` of a structure with the weights that it inherits from the base."""
    structure = _structure(spec)
    key = {"structure": structure, "base": bench.base_key, "data": bench.data.key, **conversion_versions()}
    model = bench.cache.get("untrained", key)
    if model is None:
        same = replace(spec, quantization=spec.quantization.post_training, parent=None)
        model = convert_trained(bench, same, inherit(bench.base, spec))
        bench.cache.put(model, "untrained", key)
    return model


def _structure_key(bench: Bench, spec: CompressionSpec, plan: MeasurePlan) -> dict[str, Any]:
    return {
        "structure": _structure(spec),
        "plan": plan.to_dict(),
        "board": bench.device_key,
        **conversion_versions(),
    }


def _structure(spec: CompressionSpec) -> dict[str, Any]:
    """What speed and energy depend on: the graph and its numbers."""
    architecture = asdict(spec.architecture())
    return {"architecture": architecture, "quantization": spec.quantization.post_training.value, "ends": spec.io_dtype}


def _model_key(bench: Bench, model: bytes, plan: MeasurePlan, images: str) -> dict[str, Any]:
    digest = sha256(model).hexdigest()
    return {"model": digest, "plan": plan.to_dict(), "images": images, "board": bench.device_key}


def _samples(bench: Bench, kind: str, key: dict[str, Any]) -> list[Measurement]:
    return [Measurement.from_json(value.decode()) for value in bench.cache.samples(kind, key)]


def _sample(
    bench: Bench, kind: str, key: dict[str, Any], model: bytes, plan: MeasurePlan, images: NDArray[np.uint8]
) -> Measurement:
    """One more measurement, kept beside those that are there."""
    measurement = bench.device.measure(model, plan, images)
    bench.cache.add(measurement.to_json().encode(), kind, key)
    return measurement


def _read_round(value: bytes) -> list[Measurement]:
    return [Measurement.from_dict(each) for each in json.loads(value)]


def _in_turns(bench: Bench, models: list[bytes], threads: tuple[int, int], plan: MeasurePlan) -> list[Measurement]:
    images = bench.data.validation[0][:STRUCTURE_IMAGES]
    if threads[0] == threads[1]:
        return bench.device.measure_in_turns(models, replace(plan, threads=threads[0]), images)
    return [
        bench.device.measure(model, replace(plan, threads=count), images)
        for model, count in zip(models, threads, strict=True)
    ]
