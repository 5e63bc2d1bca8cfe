"""From a specification to a trained and converted model."""

import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from compress.audit import audit
from compress.convert import CALIBRATED, ConversionJob
from compress.hashing import arrays_key
from compress.network import Weights, build
from compress.prune import inherit, resize
from compress.quantize import quantization_aware
from compress.spec import CompressionSpec
from compress.train import Epoch, Trainer, TrainPlan, train
from edge import Device, read_operators
from search.bench import Bench
from search.bounds import reachable_percent
from search.lineage import weights_only
from search.stopwatch import Stopwatch
from search.storage import OUT_OF_TIME

QAT_SHARE = 4
"""qat_int8 spends the last fourth of its epochs, at least one, on the quantization-aware network."""


@dataclass(frozen=True)
class Candidate:
    """A trained model: the saved bytes, its accuracy in percent on the validation images, and how it got there."""

    model: bytes
    operators: dict[str, int]
    accuracy_percent: float
    curve: tuple[float, ...]


def obtain(
    bench: Bench,
    spec: CompressionSpec,
    trial: optuna.Trial,
    clock: Stopwatch,
    required_percent: float,
    has_incumbent: bool,
) -> Candidate:
    """The trained and converted candidate, from the cache where another study has made it.

    Raises TrialPruned when `required_percent` is out of its reach, or the budget's end.
    """
    curve: list[float] = []
    started = time.monotonic()

    def on_epoch(epoch: Epoch) -> None:
        curve.append(epoch.accuracy)
        trial.report(epoch.accuracy, len(curve))
        bench.progress.phase(f"training, epoch {len(curve)}/{spec.epochs}, {epoch.accuracy:.1f} %")
        if len(curve) == spec.epochs:  # trained to the end: it is a parent for others, however far it got
            return
        reachable = reachable_percent(curve, spec.epochs)
        if reachable < required_percent:
            trial.set_user_attr("constraint", required_percent - reachable)
            raise optuna.TrialPruned(
                f"out of reach: {epoch.accuracy:.1f} % after {len(curve)} of {spec.epochs} epochs points to at most "
                f"{reachable:.1f} %, {required_percent:.1f} % is required"
            )
        now = time.monotonic()
        ends = now + (now - started) / len(curve) * (spec.epochs - len(curve))
        if has_incumbent and ends > bench.deadline_s:
            raise optuna.TrialPruned(f"{OUT_OF_TIME}: its training would end {ends - bench.deadline_s:.0f} s too late")

    bench.progress.phase(f"training, epoch 0/{spec.epochs}")
    with clock.phase("train"):
        trained = train_candidate(bench, spec, on_epoch)
    if not curve:  # from the cache: told, but no longer judged
        for number, accuracy in enumerate(trained.curve, 1):
            trial.report(accuracy, number)
    key = (replace(spec, threads=1).key(), *_made_with(bench))  # the bytes do not depend on the interpreter's threads
    model, about = bench.cache.get("model", *key), bench.cache.get("about", *key)
    if model is not None and about is not None:
        values = json.loads(about)
        return Candidate(model, values["operators"], values["accuracy_percent"], trained.curve)
    with clock.phase("convert"):
        bench.progress.phase("converting")
        model = convert_trained(bench, spec, trained.weights)
        operators = audit(read_operators(model), spec.architecture(), spec.quantization, spec.ends)
    with clock.phase("measure"):
        bench.progress.phase("accuracy on the validation images")
        accuracy = accuracy_percent(bench.device, model, *bench.data.validation)
    about = json.dumps({"operators": operators, "accuracy_percent": accuracy}).encode()
    bench.cache.put(model, "model", *key)
    bench.cache.put(about, "about", *key)
    return Candidate(model, operators, accuracy, trained.curve)


def convert_trained(bench: Bench, spec: CompressionSpec, weights: Weights) -> bytes:
    """The `.tflite` that the specification makes of its trained weights. Raises CandidateError."""
    calibration = bench.data.calibration() if spec.quantization in CALIBRATED else None
    return bench.converter.convert(
        ConversionJob(spec.architecture(), weights, spec.quantization, spec.ends, calibration)
    )


@dataclass(frozen=True)
class Trained:
    """Weights, and the validation accuracy in percent after each epoch."""

    weights: Weights
    curve: tuple[float, ...]


def train_candidate(
    bench: Bench, spec: CompressionSpec, on_epoch: Callable[[Epoch], None] = lambda epoch: None
) -> Trained:
    """The specification's network, trained: from the cache, or now; its parents likewise, where they are missing.

    Calls `on_epoch(Epoch)` after each epoch of its own that is trained now.
    """
    key = (weights_only(spec).key(), *_made_with(bench))
    stored = bench.cache.get("weights", *key)
    if stored is not None:
        with np.load(BytesIO(stored)) as archive:
            *weights, curve = (archive[name] for name in archive.files)
        return Trained(weights, tuple(curve.tolist()))
    if spec.parent is None:
        first = inherit(bench.base, spec)
    else:
        parent = train_candidate(bench, spec.parent)
        first = resize(parent.weights, spec.parent.architecture(), spec.architecture())
    epochs: list[Epoch] = []

    def note(epoch: Epoch) -> None:
        epochs.append(epoch)
        on_epoch(epoch)

    trained = Trained(fine_tune(bench, spec, first, note), tuple(epoch.accuracy for epoch in epochs))
    file = BytesIO()
    np.savez(file, *trained.weights, np.array(trained.curve))
    bench.cache.put(file.getvalue(), "weights", *key)
    bench.cache.put(json.dumps(weights_only(spec).to_dict()).encode(), _trained_kind(bench), *key)
    return trained


def trained_before(bench: Bench) -> list[CompressionSpec]:
    """What this study or any other has trained from the same base, data and settings: its weights are at hand."""
    return [_read_spec(path) for path in bench.cache.paths(_trained_kind(bench))]


@functools.cache  # an entry never changes
def _read_spec(path: Path) -> CompressionSpec:
    return CompressionSpec.from_dict(json.loads(path.read_bytes()))


def _trained_kind(bench: Bench) -> str:
    """The cache's folder that lists what was trained so."""
    return f"trained/{bench.cache.path('', *_made_with(bench)).name}"


def _made_with(bench: Bench) -> tuple[Any, ...]:
    """What a trained network depends on besides its specification."""
    return bench.config.training.model_dump(), bench.base_key, bench.data.key, bench.config.seed


def fine_tune(bench: Bench, spec: CompressionSpec, first: Weights, on_epoch: Callable[[Epoch], None]) -> Weights:
    """The weights `first` after the training that the specification asks for; calls `on_epoch` after each epoch."""
    network = build(spec.architecture())
    network.set_weights(first)
    if spec.epochs == 0 and spec.quantization != "qat_int8":
        return list(network.get_weights())
    aware = max(1, spec.epochs // QAT_SHARE) if spec.quantization == "qat_int8" else 0
    rate = spec.learning_rate
    for epochs, learning_rate, prepare in ((spec.epochs - aware, rate, False), (aware, rate / 10, True)):
        if epochs <= 0:
            continue
        if prepare:
            trained = network.get_weights()
            network = build(spec.architecture(), deployed=True)
            network.set_weights(trained)
            network = quantization_aware(network)
        plan = TrainPlan(
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=bench.config.training.batch_size,
            augment=spec.augment,
            shift_pixels=bench.config.training.shift_pixels,
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


def test_accuracy_percent(bench: Bench, model: bytes) -> float:
    """Accuracy in percent of the saved bytes on all test images, from the cache where they were run before."""
    images, labels = bench.data.test
    key = ("test accuracy", sha256(model).hexdigest(), arrays_key((images, labels)), bench.device_key)
    stored = bench.cache.get(*key)
    if stored is not None:
        return float(json.loads(stored))
    bench.progress.phase(f"accuracy on all {len(images):,} test images")
    value = accuracy_percent(bench.device, model, images, labels)
    bench.cache.put(json.dumps(value).encode(), *key)
    return value
