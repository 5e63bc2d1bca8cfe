"""One trial, from Optuna's parameters to the figures it is told; read `run_trial` from top to bottom."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.artifacts import FileSystemArtifactStore, upload_artifact

from compress.audit import audit
from compress.convert import CALIBRATED, ConversionJob, Converter
from compress.data import Dataset
from compress.errors import UsageError
from compress.hashing import arrays_key
from compress.network import Weights, build
from compress.prune import inherit
from compress.quantize import quantization_aware
from compress.spec import CompressionSpec
from compress.train import Epoch, Trainer, TrainPlan, logits, train
from edge import Device, Measurement, MeasurePlan, read_operators
from search.bounds import is_better, objective, reachable_percent
from search.cache import Cache
from search.config import StudyConfig
from search.progress import Progress
from search.space import suggest
from search.storage import best_value

QAT_SHARE = 4
"""qat_int8 spends the last fourth of its epochs, at least one, on the quantization-aware network."""


@dataclass(frozen=True)
class Candidate:
    """A trained model: the saved bytes, its accuracy in percent on the validation images, and how it got there."""

    model: bytes
    operators: dict[str, int]
    accuracy_percent: float
    curve: tuple[float, ...]

    @property
    def sha256(self) -> str:
        """The name of the bytes."""
        return sha256(self.model).hexdigest()


@dataclass(frozen=True)
class Bench:
    """Everything that the trials of one run share."""

    config: StudyConfig
    data: Dataset
    base: Weights
    required_percent: float
    plan: MeasurePlan
    deadline_s: float  # time.monotonic() at which the budget ends
    converter: Converter
    device: Device
    cache: Cache
    artifacts: FileSystemArtifactStore
    progress: Progress

    @cached_property
    def base_key(self) -> str:
        """A hash of the base's weights."""
        return arrays_key(self.base)

    @cached_property
    def device_key(self) -> list[str]:
        """What a measurement depends on besides model and plan."""
        environment = self.device.environment()
        return [self.device.url, self.config.meter, environment.host, environment.cpu, environment.runtime]

    @cached_property
    def teacher_logits(self) -> NDArray[np.float32]:
        """The base's answers to the training images, float32 (N, 10); computed once for all studies."""
        key = ("teacher", self.base_key, self.data.key)
        stored = self.cache.get(*key)
        if stored is None:
            self.progress.phase("the base's answers to the training images")
            network = base_network(self.base)
            buffer = BytesIO()
            np.save(buffer, logits(network, self.data.train[0]))
            stored = buffer.getvalue()
            self.cache.put(stored, *key)
        return np.asarray(np.load(BytesIO(stored)), dtype=np.float32)


def base_network(base: Weights) -> Any:
    """The unpruned network with these weights."""
    network = build(CompressionSpec().architecture())
    network.set_weights(base)
    return network


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
    trial.set_user_attr("spec", spec.to_dict())
    plan = replace(bench.plan, threads=spec.threads)
    incumbent = best_value(trial.study)

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
        candidate = obtain(bench, spec, trial, incumbent is not None)
    with clock.phase("measure"):
        bench.progress.phase("measuring")
        measurement = measure(bench, candidate.model, plan)
    _tell(trial, measurement, candidate)
    _attach(trial, bench, candidate, measurement)
    trial.set_user_attr("constraint", bench.required_percent - candidate.accuracy_percent)
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


def obtain(bench: Bench, spec: CompressionSpec, trial: optuna.Trial, has_incumbent: bool) -> Candidate:
    """The trained and converted candidate, from the cache where another study has made it."""
    config = bench.config
    made_of = replace(spec, threads=1)  # the bytes do not depend on the interpreter's threads
    key = (made_of.key(), config.training.model_dump(), bench.base_key, bench.data.key, config.seed)
    model, about = bench.cache.get("model", *key), bench.cache.get("about", *key)
    if model is not None and about is not None:
        values = json.loads(about)
        for number, accuracy in enumerate(values["curve"], 1):
            trial.report(accuracy, number)
        return Candidate(model, values["operators"], values["accuracy_percent"], tuple(values["curve"]))

    curve: list[float] = []
    started = time.monotonic()

    def on_epoch(epoch: Epoch) -> None:
        curve.append(epoch.accuracy)
        trial.report(epoch.accuracy, len(curve))
        bench.progress.phase(f"training, epoch {len(curve)}/{spec.epochs}, {epoch.accuracy:.1f} %")
        reachable = reachable_percent(curve, spec.epochs)
        if reachable < bench.required_percent:
            trial.set_user_attr("constraint", bench.required_percent - reachable)
            raise optuna.TrialPruned(
                f"out of reach: {epoch.accuracy:.1f} % after {len(curve)} of {spec.epochs} epochs points to at most "
                f"{reachable:.1f} %, {bench.required_percent:.1f} % is required"
            )
        now = time.monotonic()
        ends = now + (now - started) / len(curve) * (spec.epochs - len(curve))
        if has_incumbent and ends > bench.deadline_s:
            raise optuna.TrialPruned(f"out of time: its training would end {ends - bench.deadline_s:.0f} s too late")

    bench.progress.phase(f"training, epoch 0/{spec.epochs}")
    weights = fine_tune(bench, spec, on_epoch)
    bench.progress.phase("converting")
    model = bench.converter.convert(
        ConversionJob(
            spec.architecture(),
            weights,
            spec.quantization,
            spec.ends,
            bench.data.calibration() if spec.quantization in CALIBRATED else None,
        )
    )
    operators = audit(read_operators(model), spec.architecture(), spec.quantization, spec.ends)
    bench.progress.phase("accuracy on the validation images")
    accuracy = accuracy_percent(bench.device, model, *bench.data.validation)
    about = json.dumps({"operators": operators, "accuracy_percent": accuracy, "curve": curve}).encode()
    bench.cache.put(model, "model", *key)
    bench.cache.put(about, "about", *key)
    return Candidate(model, operators, accuracy, tuple(curve))


def fine_tune(bench: Bench, spec: CompressionSpec, on_epoch: Any) -> Weights:
    """The base's weights, pruned and trained as the specification says; calls `on_epoch(Epoch)` after each epoch."""
    network = build(spec.architecture())
    network.set_weights(inherit(bench.base, spec))
    if spec.epochs == 0 and spec.quantization != "qat_int8":
        return list(network.get_weights())
    aware = max(1, spec.epochs // QAT_SHARE) if spec.quantization == "qat_int8" else 0
    rate = spec.learning_rate
    for epochs, learning_rate, prepare in ((spec.epochs - aware, rate, False), (aware, rate / 10, True)):
        if epochs <= 0:
            continue
        if prepare:
            network = quantization_aware(network)
        plan = TrainPlan(
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=bench.config.training.batch_size,
            augment=spec.augment,
            distill_weight=spec.distill_weight,
        )
        teacher = bench.teacher_logits if spec.distill_weight > 0 else None
        seed = bench.config.seed
        trainer = Trainer(network, plan, *bench.data.train, seed=seed, flip=bench.data.flip, teacher_logits=teacher)
        train(trainer, bench.data.validation, on_epoch)
        trainer.finish()
    return list(network.get_weights())


def accuracy_percent(device: Device, model: bytes, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Accuracy in percent of the saved bytes on the device."""
    return float(np.mean(device.predict(model, images) == labels) * 100)


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
