"""From a specification to a trained and converted model."""

import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from io import BytesIO
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray

from compress.convert import ConversionJob
from compress.io import arrays_key
from compress.network import Weights, build, quantization_aware
from compress.operators import verify_operators
from compress.prune import inherit, resize
from compress.spec import CompressionSpec
from compress.tensorflow_setup import keras
from compress.training.train import Epoch, Trainer, train
from compress.training.train_plan import TrainPlan
from compress.versions import conversion_versions
from edge.runtime.tflite import read_operators
from search.candidate.accuracy import Accuracy, accuracy_of
from search.candidate.context import Bench
from search.candidate.phase_timer import Stopwatch
from search.storage.study_state import OUT_OF_TIME
from search.strategy.early_stopping import reachable_percent
from search.strategy.warm_start import weights_only

QAT_SHARE = 4
"""qat_int8 from the base spends the last fourth of its epochs, at least one, on the quantization-aware network."""


@dataclass(frozen=True)
class Candidate:
    """A trained model: the saved bytes, what they are right on, and how they got there."""

    model: bytes
    operators: dict[str, int]
    accuracy: Accuracy
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

    Raises TrialPruned when `required_percent` is out of its reach, or the budget's end: for an ancestor that must be
    trained first, too.
    """
    curve: list[float] = []
    started = time.monotonic()

    def check_time(done: int, epochs: int) -> None:
        nonlocal started
        now = time.monotonic()
        ends = now + (now - started) / done * (epochs - done)
        if has_incumbent and ends > bench.deadline_s:
            raise optuna.TrialPruned(f"{OUT_OF_TIME}: its training would end {ends - bench.deadline_s:.0f} s too late")
        if done == epochs:  # of an ancestor: the next training begins
            started = now

    def on_ancestor(ancestor: CompressionSpec, epoch: Epoch) -> None:
        at = f"{epoch.number}/{ancestor.epochs}"
        bench.progress.phase(f"training an ancestor, epoch {at}, {epoch.accuracy:.1f} %")
        check_time(epoch.number, ancestor.epochs)

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
        check_time(len(curve), spec.epochs)

    first = next(iter(untrained(bench, spec)), spec)
    what = "training" if first is spec else "training an ancestor"
    bench.progress.phase(f"{what}, epoch 0/{first.epochs}")
    with clock.phase("train"):
        trained = train_candidate(bench, spec, on_epoch, on_ancestor)
    if not curve:  # from the cache: told, but no longer judged
        for number, percent in enumerate(trained.curve, 1):
            trial.report(percent, number)
    # The bytes do not depend on the interpreter's threads.
    key = {"spec": replace(spec, threads=1).to_dict(), **bench.trained_with, **conversion_versions()}
    model = bench.cache.get("model", key)
    if model is None:
        with clock.phase("convert"):
            bench.progress.phase("converting")
            model = convert_trained(bench, spec, trained.weights)
        bench.cache.put(model, "model", key)
    operators = verify_operators(read_operators(model), spec.architecture(), spec.quantization, spec.io_dtype)
    with clock.phase("measure"):
        bench.progress.phase("accuracy on the validation images")
        accuracy = accuracy_of(_labels(bench, model, "validation"), bench.data)
    return Candidate(model, operators, accuracy, trained.curve)


def convert_trained(bench: Bench, spec: CompressionSpec, weights: Weights) -> bytes:
    """The `.tflite` that the specification makes of its trained weights. Raises CandidateError."""
    calibration = bench.data.calibration() if spec.quantization.needs_calibration else None
    with bench.training_place:  # it takes a core, as a training does
        return bench.converter.convert(
            ConversionJob(spec.architecture(), weights, spec.quantization, spec.io_dtype, calibration)
        )


@dataclass(frozen=True)
class Trained:
    """Weights, and the validation accuracy in percent after each epoch."""

    weights: Weights
    curve: tuple[float, ...]


def train_candidate(
    bench: Bench,
    spec: CompressionSpec,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_ancestor: Callable[[CompressionSpec, Epoch], None] = lambda ancestor, epoch: None,
) -> Trained:
    """The specification's network, trained: from the cache, or now; its parents likewise, where they are missing.

    Calls `on_epoch(Epoch)` after each epoch of its own that is trained now, and `on_ancestor(CompressionSpec, Epoch)`
    after each of an ancestor.
    """
    stored = _stored(bench, spec)
    if stored is not None:
        return stored
    if spec.parent is None:
        first = inherit(bench.base, spec)
    else:
        parent = train_candidate(bench, spec.parent, functools.partial(on_ancestor, spec.parent), on_ancestor)
        first = resize(parent.weights, spec.parent.architecture(), spec.architecture())
    epochs: list[Epoch] = []

    def note(epoch: Epoch) -> None:
        epochs.append(epoch)
        on_epoch(epoch)

    trained = Trained(fine_tune(bench, spec, first, note), tuple(epoch.accuracy for epoch in epochs))
    file = BytesIO()
    np.savez(file, *trained.weights, np.array(trained.curve))
    remember(bench, spec, file.getvalue())
    return trained


def stored_curve(bench: Bench, spec: CompressionSpec) -> tuple[float, ...]:
    """The validation accuracy after each epoch of a network that was trained before; empty where it was not."""
    stored = _stored(bench, spec)
    return () if stored is None else stored.curve


def _stored(bench: Bench, spec: CompressionSpec) -> Trained | None:
    content = stored_weights(bench, spec)
    if content is None:
        return None
    with np.load(BytesIO(content)) as archive:
        *weights, curve = (archive[name] for name in archive.files)
    return Trained(weights, tuple(curve.tolist()))


def stored_weights(bench: Bench, spec: CompressionSpec) -> bytes | None:
    """The cache's .npz of the specification's trained weights and curve, or None."""
    return bench.cache.get("weights", _weights_key(bench, spec))


def remember(bench: Bench, spec: CompressionSpec, content: bytes) -> None:
    """Put an .npz of trained weights and curve into the cache, where every study finds it."""
    bench.cache.put(content, "weights", _weights_key(bench, spec))


def _weights_key(bench: Bench, spec: CompressionSpec) -> dict[str, Any]:
    return {"spec": weights_only(spec).to_dict(), **bench.trained_with}


def untrained(bench: Bench, spec: CompressionSpec) -> list[CompressionSpec]:
    """What must be trained for a candidate: itself and those ancestors whose weights the cache lacks, oldest first."""
    each: CompressionSpec | None = spec
    found: list[CompressionSpec] = []
    while each is not None and stored_weights(bench, each) is None:
        found.insert(0, each)
        each = each.parent
    return found


def trained_before(bench: Bench) -> list[CompressionSpec]:
    """What this study or any other has trained from the same base, data and settings: its weights are at hand."""
    wanted = bench.trained_with
    keys = (key for (key,) in bench.cache.keys("weights"))
    return [_spec(json.dumps(key["spec"])) for key in keys if {**key, "spec": None} == {**wanted, "spec": None}]


@functools.lru_cache(maxsize=100_000)  # each of thousands is asked for before every trial
def _spec(text: str) -> CompressionSpec:
    return CompressionSpec.from_dict(json.loads(text))


def made_with_key(bench: Bench) -> str:
    """A hash of what a trained network depends on besides its specification."""
    return bench.cache.path("", bench.trained_with).name


def fine_tune(bench: Bench, spec: CompressionSpec, first: Weights, on_epoch: Callable[[Epoch], None]) -> Weights:
    """The weights `first` after the training that the specification asks for; calls `on_epoch` after each epoch.

    Networks of earlier calls must be out of use: what Keras keeps of them is dropped.
    """
    keras.backend.clear_session()
    network = build(spec.architecture())
    network.set_weights(first)
    if spec.epochs == 0 and not spec.quantization.needs_aware_training:
        return list(network.get_weights())
    aware, rate = _aware_epochs(spec), spec.learning_rate
    before = spec.all_epochs - spec.epochs
    for epochs, learning_rate, prepare in ((spec.epochs - aware, rate, False), (aware, rate / 10, True)):
        if epochs <= 0:
            continue
        if prepare:
            trained = network.get_weights()
            network = build(spec.architecture(), for_export=True)
            network.set_weights(trained)
            network = quantization_aware(network)
        plan = TrainPlan(
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=bench.config.training.batch_size,
            augment=spec.augment,
            crop_padding=bench.config.training.crop_padding,
            distill_weight=spec.distill_weight,
        )
        teacher = bench.teacher_logits if spec.distill_weight > 0 else None
        trainer = Trainer(
            network,
            plan,
            *bench.data.train,
            seed=bench.config.seed,
            flip=bench.data.flip,
            first_epoch=before,
            teacher_logits=teacher,
            step_guard=lambda: bench.training_place,
        )
        train(trainer, bench.data.search_part, on_epoch)
        trainer.finish()
        before += epochs
    return list(network.get_weights())


def _aware_epochs(spec: CompressionSpec) -> int:
    """How many of its epochs, the last ones, a candidate trains its quantization-aware network."""
    if not spec.quantization.needs_aware_training:
        return 0
    return max(1, spec.epochs if spec.parent else spec.epochs // QAT_SHARE)


def test_accuracy_percent(bench: Bench, model: bytes) -> float:
    """Accuracy in percent of the saved bytes on all test images; for figures that are told, never for a choice."""
    bench.progress.phase(f"accuracy on all {len(bench.data.test[0]):,} test images")
    return float(np.mean(_labels(bench, model, "test") == bench.data.test[1]) * 100)


def _labels(bench: Bench, model: bytes, which: Literal["validation", "test"]) -> NDArray[np.int64]:
    """What the saved bytes make of these images on the device; int64 (N,). From the cache where it was run before."""
    images = bench.data.test[0] if which == "test" else bench.data.validation[0]
    key = {"model": sha256(model).hexdigest(), "images": arrays_key([images]), "board": bench.board}
    stored = bench.cache.get("labels", key)
    if stored is not None:
        return np.frombuffer(stored, np.uint8).astype(np.int64)
    labels = bench.device.predict(model, images)
    bench.cache.put(labels.astype(np.uint8).tobytes(), "labels", key)
    return labels
