"""How a candidate is trained: in which legs, from which weights, over which epochs."""

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from networks import random_images

from compress.conversion.convert import ConversionJob, convert
from compress.conversion.operators import verify_operators
from compress.datasets.dataset import Dataset
from compress.network import Weights, build, quantization_aware
from compress.spec import CompressionSpec
from compress.training.train import Epoch, Trainer
from edge.runtime.tflite import read_operators
from search.candidate import train_candidate as candidate
from search.candidate.train_candidate import fine_tune
from search.config import StudyConfig
from search.config_sections import Training

SPEC = CompressionSpec((0.9,) * 14, dropped_blocks=tuple(range(2, 13)), stem_stride=4, epochs=8, learning_rate=0.04)
TRAINED = replace(SPEC, epochs=3, parent=SPEC)
AWARE = replace(SPEC, epochs=2, parent=TRAINED, quantization="qat_int8")


@dataclass(frozen=True)
class _Context:
    """What `fine_tune` needs of a context."""

    config: StudyConfig = StudyConfig(name="test", road="latency", training=Training(batch_size=16))
    data: Dataset = field(default_factory=lambda: _noise())
    training_place: Any = field(default_factory=nullcontext)


def _noise() -> Dataset:
    part = random_images(32), np.arange(32) % 10
    return Dataset("noise", "here", part, part, part, flip=True, rule_percent=0.0)


def _tune(spec: CompressionSpec, first: Weights | None = None) -> Weights:
    given = first or build(spec.architecture()).get_weights()
    context: Any = _Context()
    return fine_tune(context, spec, given, lambda epoch: None)


@dataclass(frozen=True)
class _Leg:
    """What a trainer had to do."""

    aware: bool
    epochs: int
    learning_rate: float
    first_epoch: int


@pytest.fixture
def legs(monkeypatch: pytest.MonkeyPatch) -> list[_Leg]:
    """The legs that are trained, in name alone."""
    wanted: list[_Leg] = []

    def no_training(trainer: Trainer, validation: Any, on_epoch: Any) -> list[Epoch]:
        aware = trainer.fast_model is trainer.network
        wanted.append(_Leg(aware, trainer.plan.epochs, trainer.plan.learning_rate, trainer.first_epoch))
        return []

    monkeypatch.setattr(candidate, "train", no_training)
    return wanted


@pytest.mark.slow
def test_each_leg_counts_on_the_epochs_of_those_before(legs: list[_Leg]) -> None:
    _tune(SPEC)
    _tune(TRAINED)
    _tune(replace(SPEC, quantization="qat_int8"))
    _tune(replace(SPEC, quantization="qat_int8", epochs=1))
    _tune(AWARE)
    assert legs == [
        _Leg(False, 8, 0.04, 0),
        _Leg(False, 3, 0.04, 8),
        _Leg(False, 6, 0.04, 0),  # from the base: the last fourth is aware
        _Leg(True, 2, 0.004, 6),
        _Leg(True, 1, 0.004, 0),
        _Leg(True, 2, 0.004, 11),  # from weights that were trained in float: all of it
    ]


@pytest.mark.slow
def test_the_aware_network_begins_with_the_parents_weights(legs: list[_Leg]) -> None:
    parents = build(SPEC.architecture()).get_weights()
    network = build(SPEC.architecture(), for_export=True)
    network.set_weights(parents)
    for found, wanted in zip(_tune(AWARE, parents), quantization_aware(network).get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
def test_what_was_trained_aware_converts_and_passes_the_audit() -> None:
    spec = replace(AWARE, epochs=1, io_dtype="uint8")
    model = convert(ConversionJob(spec.architecture(), _tune(spec), spec.quantization, spec.io_dtype))
    operators = read_operators(model)
    counts = verify_operators(operators, spec.architecture(), spec.quantization, spec.io_dtype)
    assert counts["CONV_2D"] == 3


def test_keras_keeps_nothing_of_the_networks_before(legs: list[_Leg]) -> None:
    """It would be megabytes for each training of a search's worker."""
    _tune(SPEC)
    names = [layer.name for layer in build(SPEC.architecture()).layers]
    _tune(SPEC)
    assert [layer.name for layer in build(SPEC.architecture()).layers] == names, "Keras numbers what it keeps"
