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
from search.bounds import is_better, objective
from search.cache import Cache
from search.candidate import Candidate, obtain
from search.space import suggest
from search.storage import best_value, is_finalist


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
    finish = bench.config.finish
    if is_finalist(trial):
        spec = replace(spec, epochs=finish.epochs)
    trial.set_user_attr("spec", spec.to_dict())
    plan = replace(bench.plan, threads=spec.threads)
    # In the search, a candidate may fall short by what longer training is going to add.
    leeway = finish.gain_percent if finish.candidates and not is_finalist(trial) else 0.0
    incumbent = best_value(trial.study, leeway)

    with clock.phase("structure"):
        bench.progress.phase("structure")
        measurement = measure_structure(bench, spec, plan)
        _tell(trial, measurement)
        best_case = objective(bench.config.road, measurement, 100.0)
        if incumbent is not None and not is_better(bench.config.road, best_case, incumbent):
            raise optuna.TrialPruned(
                f"cannot win: {best_case:.4g} at 100 % accuracy, the best so far has {incumbent:.4g}"
            )

    with clock.phase("train and convert"):
        # A finalist is trained to its end: over so many epochs a curve rises late, when the learning rate falls.
        required_percent = 0.0 if is_finalist(trial) else bench.required_percent - leeway
        candidate = obtain(bench, spec, trial, required_percent, incumbent is not None)
    with clock.phase("measure"):
        bench.progress.phase("measuring")
        measurement = measure(bench, candidate.model, plan)
    _tell(trial, measurement, candidate)
    _attach(trial, bench, candidate, measurement)
    shortfall = bench.required_percent - candidate.accuracy_percent
    trial.set_user_attr("shortfall", shortfall)
    trial.set_user_attr("constraint", shortfall - leeway)
    return objective(bench.config.road, measurement, candidate.accuracy_percent)


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


def measure(bench: Bench, model: bytes, plan: MeasurePlan) -> Measurement:
    """Measure these very bytes on the device, or give what was measured before by the same plan."""
    key = ("measurement", sha256(model).hexdigest(), plan.to_dict(), bench.device_key)
    return _remembered(bench.cache, key, lambda: bench.device.measure(model, plan, bench.data.validation[0]))


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


def _tell(trial: optuna.Trial, measurement: Measurement, candidate: Candidate | None = None) -> None:
    trial.set_user_attr("measurement", json.loads(measurement.to_json()))
    if candidate is not None:
        about = {
            "sha256": candidate.sha256,
            "bytes": len(candidate.model),
            "operators": candidate.operators,
            "accuracy_percent": candidate.accuracy_percent,
        }
        trial.set_user_attr("candidate", about)


def _attach(trial: optuna.Trial, bench: Bench, candidate: Candidate, measurement: Measurement) -> None:
    with tempfile.TemporaryDirectory(prefix="thrones-") as folder:
        for name, content in (("model.tflite", candidate.model), ("windows.json", measurement.to_json().encode())):
            path = Path(folder) / name
            path.write_bytes(content)
            artifact = upload_artifact(artifact_store=bench.artifacts, file_path=str(path), study_or_trial=trial)
            trial.set_user_attr(f"artifact {name}", artifact)
