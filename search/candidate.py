"""From a specification to a trained and converted model."""

import json
import time
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from compress.audit import audit
from compress.convert import CALIBRATED, ConversionJob
from compress.network import Weights, build
from compress.prune import inherit
from compress.quantize import quantization_aware
from compress.spec import CompressionSpec
from compress.train import Epoch, Trainer, TrainPlan, train
from edge import Device, read_operators
from search.bench import Bench
from search.bounds import reachable_percent
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

    @property
    def sha256(self) -> str:
        """The name of the bytes."""
        return sha256(self.model).hexdigest()


def obtain(
    bench: Bench, spec: CompressionSpec, trial: optuna.Trial, required_percent: float, has_incumbent: bool
) -> Candidate:
    """The trained and converted candidate, from the cache where another study has made it.

    Raises TrialPruned when `required_percent` is out of its reach, or the budget's end.
    """
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
