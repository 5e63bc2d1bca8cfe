"""What all trials of one run share: images, base, device, cache."""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.conversion.convert import ConversionJob, Converter
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
from edge.open_device import open_test_bench
from search.candidate.calibration import Speed, calibrate
from search.candidate.inputs.base_network import base_weights
from search.candidate.worker_context import WorkerContext, require_meter
from search.config import StudyConfig
from search.progress import Progress
from search.storage.artifacts import ArtifactStore, open_artifacts
from search.storage.cache import Cache
from search.strategy.early_stopping import required_percent

BASE = "unpruned base"


@dataclass(frozen=True)
class TrialContext(WorkerContext):
    """Everything that the trials of one run share.

    Args:
        data: The images.
        base: The weights of the unpruned network.
        base_key: A hash of them.
        base_model: The unpruned network in float32 as a `.tflite`.
        base_speed: Its speed on the device.
        constraint_percent: The least test accuracy.
        required_percent: That with its margin, on the validation images that decide.
        plan: How a candidate is measured.
        converter: Converts trained networks in a process of its own.
        device: What measures.
        device_kind: What measurements depend on besides model and plan: the kind of device, and what gives the power.
        cache: What was trained and measured before.
        artifacts: Where models and raw windows go.
        training_place: Entered for each step of a training, which pauses while something is measured on this host.
        teacher_logits: Returns the base's logits for the training images, float32 (N, 10), computed once.
    """

    data: Dataset
    base: Weights
    base_key: str
    base_model: bytes
    base_speed: Speed
    constraint_percent: float
    required_percent: float
    plan: MeasurePlan
    converter: Converter
    device: Device
    device_kind: Mapping[str, str]
    cache: Cache
    artifacts: ArtifactStore
    training_place: TrainingPlace
    teacher_logits: Callable[[], NDArray[np.float32]]

    @property
    def measured_with(self) -> dict[str, str]:
        """Return what a measurement depends on besides model and plan: the device, and how fast it was."""
        return {**self.device_kind, BASE: f"{self.base_speed.space_ms:.6g} ms"}

    @property
    def trained_with(self) -> dict[str, Any]:
        """Return what trained weights depend on besides their spec; not the number of threads."""
        settings = self.config.training
        return {
            "batch size": settings.batch_size,
            "shift pixels": settings.crop_padding,
            "base": self.base_key,
            "data": self.data.key,
            "seed": self.config.seed,
            **training_versions(),
        }

    @property
    def weights_key(self) -> str:
        """Return a hash of `trained_with`."""
        return self.cache.path("", self.trained_with).name


@contextmanager
def open_context(
    config: StudyConfig, data: Dataset, progress: Progress, cache: Cache, parent_pid: int | None = None
) -> Iterator[TrialContext]:
    """Open device and converter of a study, and time its base.

    Args:
        config: The study.
        data: Its images.
        progress: Who shows what is done.
        cache: What was trained and measured before.
        parent_pid: The process that started this one, if any.

    Raises:
        UsageError: An objective needs a meter that is not there.
        EdgeError: Device or meter cannot be opened.
    """
    with Converter() as converter, open_test_bench(config.devices, config.meter, progress.device) as device:
        require_meter(config.road, device)
        artifacts = open_artifacts(config)
        if config.training.threads:
            limit_threads(config.training.threads)
        base = base_weights(data, cache, progress, config.base)
        base_key = arrays_key(base)
        base_model = convert_base(base, base_key, converter, cache, progress)
        device_kind = device_kind_of(config, device)
        progress.phase("timing the base on the device")
        speed = calibrate(device, cache, device_kind, base_key, base_model, data.validation[0][:1])
        if speed.line is not None:
            progress.line(speed.line)
        constraint_percent = config.constraint.percent_on(data.rule_percent)
        training_place = TrainingPlace()

        def teacher_logits() -> NDArray[np.float32]:
            return compute_teacher_logits(base, base_key, data, cache, progress, training_place)

        yield TrialContext(
            config=config,
            progress=progress,
            parent_pid=parent_pid,
            data=data,
            base=base,
            base_key=base_key,
            base_model=base_model,
            base_speed=speed,
            constraint_percent=constraint_percent,
            required_percent=required_percent(
                constraint_percent,
                config.constraint.margin_sigmas,
                decision_images=int(data.decides.sum()),
                test_images=len(data.test[0]),
            ),
            plan=plan_for(config.search_plan, device.shortest_window_s),
            converter=converter,
            device=device,
            device_kind=device_kind,
            cache=cache,
            artifacts=artifacts,
            training_place=training_place,
            teacher_logits=functools.cache(teacher_logits),
        )


def device_kind_of(config: StudyConfig, device: Device) -> dict[str, str]:
    """Return what the measurements of a study depend on: what gives the power, and the kind of device."""
    kind = kind_of(device.environment(), device.url)
    return {"meter": config.meter, **{name: str(value) for name, value in kind.items()}}


def convert_base(base: Weights, base_key: str, converter: Converter, cache: Cache, progress: Progress) -> bytes:
    """Return the unpruned network in float32 as a `.tflite`, from the cache or converted now.

    Args:
        base: Its weights.
        base_key: A hash of them.
        converter: Who converts.
        cache: Where it is kept.
        progress: Who shows what is done.
    """
    key = {"base": base_key, **conversion_versions()}
    model = cache.get("base", key)
    if model is None:
        progress.phase("converting the base")
        model = converter.convert(ConversionJob(CompressionSpec().architecture(), base, Quantization.FLOAT32))
        cache.put(model, "base", key)
    return model


def compute_teacher_logits(
    base: Weights, base_key: str, data: Dataset, cache: Cache, progress: Progress, training_place: TrainingPlace
) -> NDArray[np.float32]:
    """Return the base's logits for the training images, float32 (N, 10), from the cache or computed now.

    Args:
        base: The weights of the base.
        base_key: A hash of them.
        data: The images.
        cache: Where the logits are kept.
        progress: Who shows what is done.
        training_place: Entered for each batch.
    """
    key = {"base": base_key, "data": data.key, "tensorflow": tensorflow_version()}
    stored = cache.get("teacher", key)
    if stored is None:
        progress.phase("the base's logits for the training images")
        buffer = BytesIO()
        np.save(buffer, logits(build_base_network(base), data.train[0], guard=lambda: training_place))
        stored = buffer.getvalue()
        cache.put(stored, "teacher", key)
    return np.asarray(np.load(BytesIO(stored)), dtype=np.float32)


def build_base_network(base: Weights) -> Any:
    """Return the unpruned Keras network with these weights."""
    network = build(CompressionSpec().architecture())
    network.set_weights(base)
    return network
