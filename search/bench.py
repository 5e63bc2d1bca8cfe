"""What the trials of one run share."""

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.artifacts import FileSystemArtifactStore

from compress.convert import Converter
from compress.data import Dataset
from compress.hashing import arrays_key
from compress.network import Weights, build
from compress.spec import CompressionSpec
from compress.train import logits
from edge import Device, MeasurePlan
from search.cache import Cache
from search.config import StudyConfig
from search.progress import Progress


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
