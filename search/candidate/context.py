"""What the trials of one run share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.convert import ConversionJob, Converter
from compress.datasets.dataset import Dataset
from compress.io import arrays_key
from compress.network import Weights, build
from compress.quantization import Quantization
from compress.spec import CompressionSpec
from compress.tensorflow_setup import limit_threads
from compress.training.train import logits
from compress.versions import conversion_versions, tensorflow_version, training_versions
from edge.devices.device import Device
from edge.measuring.environment import kind_of
from edge.measuring.plan import MeasurePlan, plan_for
from edge.measuring.training_lock import TrainingPlace
from edge.open import open_test_bench
from search.cache import Cache
from search.candidate.base_network import base_weights
from search.candidate.calibration import Speed, calibrate
from search.config import StudyConfig
from search.progress import Progress
from search.runner.lifecycle import check_meter
from search.runner.loop import Shift
from search.storage.artifacts import ArtifactStore, open_artifacts
from search.strategy.early_stopping import required_percent

BASE = "unpruned base"


@dataclass(frozen=True)
class Bench(Shift):
    """Everything that the trials of one run share."""

    data: Dataset
    base: Weights
    rule_percent: float
    required_percent: float  # on the validation images
    plan: MeasurePlan
    converter: Converter
    device: Device
    base_model: bytes  # the unpruned float base as a `.tflite`
    base_speed: Speed  # of it on the device
    cache: Cache
    artifacts: ArtifactStore

    @cached_property
    def base_key(self) -> str:
        """A hash of the base's weights."""
        return arrays_key(self.base)

    @cached_property
    def board(self) -> dict[str, str]:
        """The kind of board, and what gives the power."""
        return board_of(self.config, self.device)

    @cached_property
    def device_key(self) -> dict[str, str]:
        """What a measurement depends on besides model and plan: the board, and how fast it was."""
        return {**self.board, BASE: f"{self.base_speed.space_ms:.6g} ms"}

    @cached_property
    def training_place(self) -> TrainingPlace:
        """Entered for each step of a training, which holds still while something is measured on this host."""
        return TrainingPlace()

    @cached_property
    def trained_with(self) -> dict[str, Any]:
        """What trained weights depend on besides their specification; not the number of threads."""
        settings = self.config.training
        return {
            "batch size": settings.batch_size,
            "shift pixels": settings.crop_padding,
            "base": self.base_key,
            "data": self.data.key,
            "seed": self.config.seed,
            **training_versions(),
        }

    @cached_property
    def teacher_logits(self) -> NDArray[np.float32]:
        """The base's answers to the training images, float32 (N, 10); computed once for all studies."""
        return answers(self.base, self.data, self.cache, self.progress)


@contextmanager
def open_bench(
    config: StudyConfig, data: Dataset, progress: Progress, cache: Cache, parent: int | None = None
) -> Iterator[Bench]:
    """The bench of a study, device and converter opened; the budget's clock starts when all is ready.

    Raises UsageError for a road that needs a meter, EdgeError when device or meter cannot be opened.
    """
    with Converter() as converter, open_test_bench(config.devices, config.meter, progress.device) as device:
        check_meter(config.road, device)
        artifacts = open_artifacts(config)
        if config.training.threads:
            limit_threads(config.training.threads)
        base = base_weights(data, cache, progress, config.base)
        base_model = convert_base(base, converter, cache, progress)
        progress.phase("timing the base on the device")
        speed = calibrate(
            device, cache, board_of(config, device), arrays_key(base), base_model, data.validation[0][:1]
        )
        if speed.line is not None:
            progress.line(speed.line)
        rule = config.constraint.percent_on(data.rule_percent)
        counted = int(data.decides.sum()), len(data.test[0])
        yield Bench(
            config=config,
            data=data,
            base=base,
            rule_percent=rule,
            required_percent=required_percent(rule, config.constraint.margin_sigmas, *counted),
            plan=plan_for(config.search_plan, device.shortest_window_s),
            deadline_s=time.monotonic() + config.budget.minutes * 60,
            converter=converter,
            device=device,
            base_model=base_model,
            base_speed=speed,
            cache=cache,
            artifacts=artifacts,
            progress=progress,
            parent=parent,
        )


def board_of(config: StudyConfig, device: Device) -> dict[str, str]:
    """What measurements of a study depend on: what gives the power, and the kind of board."""
    kind = kind_of(device.environment(), device.url)
    return {"meter": config.meter, **{name: str(value) for name, value in kind.items()}}


def convert_base(base: Weights, converter: Converter, cache: Cache, progress: Progress) -> bytes:
    """The unpruned float base as a `.tflite`, from the cache or now."""
    key = {"base": arrays_key(base), **conversion_versions()}
    model = cache.get("base", key)
    if model is None:
        progress.phase("converting the base")
        model = converter.convert(ConversionJob(CompressionSpec().architecture(), base, Quantization.FLOAT32))
        cache.put(model, "base", key)
    return model


def answers(base: Weights, data: Dataset, cache: Cache, progress: Progress) -> NDArray[np.float32]:
    """The logits that the base gives for the training images, float32 (N, 10), from the cache or now."""
    key = {"base": arrays_key(base), "data": data.key, "tensorflow": tensorflow_version()}
    stored = cache.get("teacher", key)
    if stored is None:
        progress.phase("the base's answers to the training images")
        buffer = BytesIO()
        place = TrainingPlace()
        np.save(buffer, logits(base_network(base), data.train[0], guard=lambda: place))
        stored = buffer.getvalue()
        cache.put(stored, "teacher", key)
    return np.asarray(np.load(BytesIO(stored)), dtype=np.float32)


def base_network(base: Weights) -> Any:
    """The unpruned network with these weights."""
    network = build(CompressionSpec().architecture())
    network.set_weights(base)
    return network
