"""One trial, from Optuna's parameters to the figures it is told; read `run_trial` from top to bottom."""

from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

import optuna

from compress.convert import CALIBRATED, ConversionJob
from compress.prune import inherit
from compress.spec import CompressionSpec
from edge import Measurement, MeasurePlan
from search.bench import Bench
from search.bounds import best_case_of, gain_to_come, is_better, objective
from search.cache import Cache
from search.candidate import obtain, trained_before
from search.config import StudyConfig
from search.lineage import descend, weights_only
from search.memory import measured, trained
from search.space import asked_spec
from search.stopwatch import Stopwatch
from search.storage import FINALIST, FORMAT, best_value, is_close, is_finalist
from search.telling import attach, tell_candidate, tell_measurement


def run_trial(trial: optuna.Trial, bench: Bench) -> float:
    """Build, measure and train one candidate; the road's value.

    Raises TrialPruned when it cannot win or cannot keep the rule, CandidateError or EdgeError when it fails.
    """
    with Stopwatch(trial) as clock:
        bench.progress.trial(trial.number, clock.heard)
        return _run_timed(trial, bench, clock)


def _run_timed(trial: optuna.Trial, bench: Bench, clock: Stopwatch) -> float:
    config, finalist = bench.config, is_finalist(trial)
    spec = asked_spec(trial, config)
    trials = trial.study.get_trials(deepcopy=False)
    spec = finalist_spec(trial, config) if finalist else descend(spec, [*trained(trials), *trained_before(bench)])
    trial.set_user_attr("spec", spec.to_dict())
    plan = replace(bench.plan, threads=spec.threads)
    # In the search, a candidate may fall short of the rule by what longer training is going to add.
    to_come = 0.0
    if config.finish.candidates and not finalist:
        known = spec.epochs, spec.all_epochs - spec.epochs
        to_come = gain_to_come(*known, config.finish.epochs, config.finish.points_per_doubling)
    incumbent = best_value(trial.study, promising=not finalist, trials=trials)

    macs = spec.architecture().macs
    free = best_case_of(config.road, macs, measured(trials))
    if incumbent is not None and free is not None and not is_better(config.road, free, incumbent):
        reason = f"cannot win: {macs:,} MACs allow {free:.4g} at most, the best so far has {incumbent:.4g}"
        raise optuna.TrialPruned(reason)

    with clock.phase("structure"):
        bench.progress.phase("structure")
        measurement = measure_structure(bench, spec, plan, clock)
        tell_measurement(trial, measurement)
        best_case = objective(config.road, measurement, 100.0)
        trial.set_user_attr("structure", {"macs": macs, "best_case": best_case, "device": measurement.device})
        wins = incumbent is None or is_better(config.road, best_case, incumbent)
        if not wins and not (finalist and is_close(best_case, incumbent)):  # a tie goes to the more accurate one
            raise optuna.TrialPruned(
                f"cannot win: {best_case:.4g} at 100 % accuracy, the best so far has {incumbent:.4g}"
            )

    # A finalist is trained to its end: over so many epochs a curve rises late, when the learning rate falls.
    required_percent = 0.0 if finalist else bench.required_percent - to_come
    candidate = obtain(bench, spec, trial, clock, required_percent, incumbent is not None)
    with clock.phase("measure"):
        bench.progress.phase("measuring")
        measurement = measure(bench, candidate.model, plan)
    shortfall = bench.required_percent - candidate.accuracy_percent
    tell_measurement(trial, measurement)
    tell_candidate(trial, candidate.model, candidate.operators, candidate.accuracy_percent, shortfall)
    attach(trial, bench.artifacts, candidate.model, measurement)
    trial.set_user_attr("constraint", shortfall - to_come)
    return objective(config.road, measurement, candidate.accuracy_percent)


def finalist_spec(trial: optuna.Trial, config: StudyConfig) -> CompressionSpec:
    """A candidate of the search, trained on for longer."""
    found = trial.study.get_trials(deepcopy=False)[trial.user_attrs[FINALIST]]
    origin = CompressionSpec.from_dict(found.user_attrs["spec"])
    quantization = trial.user_attrs.get(FORMAT, origin.quantization)
    ends = config.space.ends_of(quantization)
    parent = None if origin.quantization == "qat_int8" else weights_only(origin)
    return replace(origin, epochs=config.finish.epochs, parent=parent, quantization=quantization, ends=ends)


def measure_structure(bench: Bench, spec: CompressionSpec, plan: MeasurePlan, clock: Stopwatch) -> Measurement:
    """Measure a candidate before it is trained: speed and energy do not depend on the weights."""
    quantization = "int8" if spec.quantization == "qat_int8" else spec.quantization  # the same operators
    architecture = spec.architecture()
    key = ("structure", asdict(architecture), quantization, spec.ends, plan.to_dict(), bench.device_key)

    def anew() -> Measurement:
        calibration = bench.data.calibration() if quantization in CALIBRATED else None
        job = ConversionJob(architecture, inherit(bench.base, spec), quantization, spec.ends, calibration)
        model = bench.converter.convert(job)
        with clock.phase("measure structure"):
            return bench.device.measure(model, plan, bench.data.validation[0][:100])

    return _remembered(bench.cache, key, anew)


def measure(bench: Bench, model: bytes, plan: MeasurePlan, *, test: bool = False) -> Measurement:
    """Measure these very bytes on the device, or give what was measured before by the same plan.

    On the validation images, or, `test`, on passes over the test set.
    """
    images = bench.data.test[0] if test else bench.data.validation[0]
    key = ("measurement", sha256(model).hexdigest(), plan.to_dict(), bench.device_key, *(["test"] if test else []))
    return _remembered(bench.cache, key, lambda: bench.device.measure(model, plan, images))


def _remembered(cache: Cache, key: tuple[Any, ...], anew: Callable[[], Measurement]) -> Measurement:
    stored = cache.get(*key)
    if stored is not None:
        return Measurement.from_json(stored.decode())
    measurement = anew()
    cache.put(measurement.to_json().encode(), *key)
    return measurement
