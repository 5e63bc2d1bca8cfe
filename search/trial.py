"""One trial, from Optuna's parameters to the figures it is told; read `run_trial` from top to bottom."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import upload_artifact

from compress.convert import CALIBRATED, ConversionJob
from compress.errors import UsageError
from compress.prune import inherit
from compress.spec import CompressionSpec
from edge import Measurement, MeasurePlan
from search.bench import Bench
from search.bounds import best_case_of, gain_to_come, is_better, objective
from search.cache import Cache
from search.candidate import Candidate, obtain
from search.config import StudyConfig
from search.lineage import descend, weights_only
from search.space import suggest
from search.storage import FINALIST, FORMAT, best_value, is_close, is_finalist


def run_trial(trial: optuna.Trial, bench: Bench) -> float:
    """Build, measure and train one candidate; the road's value.

    Raises TrialPruned when it cannot win or cannot keep the rule, CandidateError or EdgeError when it fails.
    """
    bench.progress.trial(trial.number)
    with Stopwatch(trial) as clock:
        return _run_timed(trial, bench, clock)


def _run_timed(trial: optuna.Trial, bench: Bench, clock: "Stopwatch") -> float:
    try:
        spec = suggest(trial, bench.config.space, bench.config.training.learning_rate)
    except UsageError as error:
        raise optuna.TrialPruned(str(error)) from error
    config, finalist = bench.config, is_finalist(trial)
    spec = finalist_spec(trial, config) if finalist else descend(spec, _trained(trial.study))
    trial.set_user_attr("spec", spec.to_dict())
    plan = replace(bench.plan, threads=spec.threads)
    # In the search, a candidate may fall short of the rule by what longer training is going to add.
    to_come = 0.0
    if config.finish.candidates and not finalist:
        to_come = gain_to_come(spec.all_epochs, config.finish.epochs, config.finish.points_per_doubling)
    incumbent = best_value(trial.study, promising=not finalist)

    macs = spec.architecture().macs
    free = best_case_of(config.road, macs, _measured(trial.study))
    if incumbent is not None and free is not None and not is_better(config.road, free, incumbent):
        reason = f"cannot win: {macs:,} MACs allow {free:.4g} at most, the best so far has {incumbent:.4g}"
        raise optuna.TrialPruned(reason)

    with clock.phase("structure"):
        bench.progress.phase("structure")
        measurement = measure_structure(bench, spec, plan)
        tell(trial, measurement)
        best_case = objective(config.road, measurement, 100.0)
        trial.set_user_attr("structure", {"macs": macs, "best_case": best_case})
        wins = incumbent is None or is_better(config.road, best_case, incumbent)
        if not wins and not (finalist and is_close(best_case, incumbent)):  # a tie goes to the more accurate one
            raise optuna.TrialPruned(
                f"cannot win: {best_case:.4g} at 100 % accuracy, the best so far has {incumbent:.4g}"
            )

    with clock.phase("train and convert"):
        # A finalist is trained to its end: over so many epochs a curve rises late, when the learning rate falls.
        required_percent = 0.0 if finalist else bench.required_percent - to_come
        candidate = obtain(bench, spec, trial, required_percent, incumbent is not None)
    with clock.phase("measure"):
        bench.progress.phase("measuring")
        measurement = measure(bench, candidate.model, plan)
    tell(trial, measurement, candidate)
    attach(trial, bench, candidate, measurement)
    shortfall = bench.required_percent - candidate.accuracy_percent
    trial.set_user_attr("shortfall", shortfall)
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


def _trained(study: optuna.Study) -> list[CompressionSpec]:
    """The candidates whose trained weights are at hand."""
    trials = study.get_trials(deepcopy=False)
    return [CompressionSpec.from_dict(t.user_attrs["spec"]) for t in trials if "candidate" in t.user_attrs]


def _measured(study: optuna.Study) -> list[tuple[int, float]]:
    """MACs and value at 100 % accuracy of all structures that were measured."""
    found = [trial.user_attrs.get("structure") for trial in study.get_trials(deepcopy=False)]
    return [(about["macs"], about["best_case"]) for about in found if about is not None]


def measure_structure(bench: Bench, spec: CompressionSpec, plan: MeasurePlan) -> Measurement:
    """Measure a candidate before it is trained: speed and energy do not depend on the weights."""
    quantization = "int8" if spec.quantization == "qat_int8" else spec.quantization  # the same operators
    architecture = spec.architecture()
    key = ("structure", asdict(architecture), quantization, spec.ends, plan.to_dict(), bench.device_key)

    def anew() -> Measurement:
        calibration = bench.data.calibration() if quantization in CALIBRATED else None
        job = ConversionJob(architecture, inherit(bench.base, spec), quantization, spec.ends, calibration)
        return bench.device.measure(bench.converter.convert(job), plan, bench.data.validation[0][:100])

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


class Stopwatch:
    """The seconds of each phase, told to the trial when it ends, whichever way."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial
        self._seconds: dict[str, float] = {}

    def __enter__(self) -> "Stopwatch":
        return self

    def __exit__(self, *_: object) -> None:
        self._trial.set_user_attr("seconds", self._seconds)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens in the `with` as this phase."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = round(time.monotonic() - started, 3)


def tell(trial: optuna.Trial, measurement: Measurement, candidate: Candidate | None = None) -> None:
    """Write what was measured, and the candidate where it is whole, into the trial."""
    trial.set_user_attr("measurement", json.loads(measurement.to_json()))
    if candidate is not None:
        about = {
            "sha256": candidate.sha256,
            "bytes": len(candidate.model),
            "operators": candidate.operators,
            "accuracy_percent": candidate.accuracy_percent,
        }
        trial.set_user_attr("candidate", about)


def attach(trial: optuna.Trial, bench: Bench, candidate: Candidate, measurement: Measurement) -> None:
    """Keep the model and its raw windows as artifacts of the trial."""
    with tempfile.TemporaryDirectory(prefix="thrones-") as folder:
        for name, content in (("model.tflite", candidate.model), ("windows.json", measurement.to_json().encode())):
            path = Path(folder) / name
            path.write_bytes(content)
            artifact = upload_artifact(artifact_store=bench.artifacts, file_path=str(path), study_or_trial=trial)
            trial.set_user_attr(f"artifact {name}", artifact)
