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

from compress.convert import Converter
from compress.data import Dataset
from compress.hashing import arrays_key
from compress.network import Weights, build
from compress.spec import CompressionSpec
from compress.tf import limit_threads
from compress.train import logits
from edge import Device, MeasurePlan, open_rig, plan_for
from edge.environment import kind_of
from search.artifacts import ArtifactStore, open_artifacts
from search.base import base_weights
from search.bounds import required_percent
from search.cache import Cache
from search.config import StudyConfig
from search.loop import Shift
from search.opening import check_meter
from search.progress import Progress


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
    cache: Cache
    artifacts: ArtifactStore

    @cached_property
    def base_key(self) -> str:
        """A hash of the base's weights."""
        return arrays_key(self.base)

    @cached_property
    def device_key(self) -> list[str]:
        """What a measurement depends on besides model and plan."""
        kind = kind_of(self.device.environment(), self.device.url)
        return [self.config.meter, *map(str, kind)]

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
    with Converter() as converter, open_rig(config.devices, config.meter, progress.phase) as device:
        check_meter(config.road, device)
        artifacts = open_artifacts(config)
        if config.training.threads:
            limit_threads(config.training.threads)
        base = base_weights(data, cache, progress, config.base)
        rule = config.rule.percent_on(data.rule_percent)
        counted = len(data.validation[0]), len(data.test[0])
        yield Bench(
            config=config,
            data=data,
            base=base,
            rule_percent=rule,
            required_percent=required_percent(rule, config.rule.margin_sigmas, *counted),
            plan=plan_for(config.measure.search, device.shortest_window_s),
            deadline_s=time.monotonic() + config.budget.minutes * 60,
            converter=converter,
            device=device,
            cache=cache,
            artifacts=artifacts,
            progress=progress,
            parent=parent,
        )


def answers(base: Weights, data: Dataset, cache: Cache, progress: Progress) -> NDArray[np.float32]:
    """The logits that the base gives for the training images, float32 (N, 10), from the cache or now."""
    key = ("teacher", arrays_key(base), data.key)
    stored = cache.get(*key)
    if stored is None:
        progress.phase("the base's answers to the training images")
        buffer = BytesIO()
        np.save(buffer, logits(base_network(base), data.train[0]))
        stored = buffer.getvalue()
        cache.put(stored, *key)
    return np.asarray(np.load(BytesIO(stored)), dtype=np.float32)


def base_network(base: Weights) -> Any:
    """The unpruned network with these weights."""
    network = build(CompressionSpec().architecture())
    network.set_weights(base)
    return network
