"""Models by one protocol and in turns: A, B, A, B, so that what drifts on the machine hits all of them alike."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edge.devices.device import Device
from edge.errors import InvalidMeasurementError, ModelError, with_prefix
from edge.measuring.measurement import Measurement
from edge.measuring.plan import MeasurePlan
from edge.runtime.preprocessing import PIXELS

# Enough to tell 75 % from 70 %, and over in a second on a host.
TRIAL_IMAGES = 1000

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Images:
    """uint8 (N, 32, 32, 3), 0..255, and N labels 0..9 or None.

    `training`: other images with labels, on which a model's pixels are found; None where there are none.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None
    training: Labelled | None = None


@dataclass(frozen=True)
class Entry:
    """One model's line: every round's measurement raw, each figure the median over the rounds.

    `pixels`: what it was given; `tried`: the accuracy in % on training images with each of `preprocessing.PIXELS`
    that it takes, empty where `pixels` was not found that way; `assumed`: neither found nor told.
    """

    name: str
    pixels: str
    rounds: tuple[Measurement, ...]
    accuracy_percent: float | None = None
    tried: Mapping[str, float] = field(default_factory=dict)
    assumed: bool = False

    def figure(self, name: str) -> float | None:
        """The figure of this name in `edge.measuring.measurement.DEFINITIONS`; None where it was not measured."""
        values: list[float] = [value for each in self.rounds if (value := getattr(each, name)) is not None]
        if not values:
            return None
        return values[0] if len(set(values)) == 1 else median(values)  # a number of bytes stays a whole one

    @property
    def fom(self) -> float | None:
        """Accuracy in % over latency in ms and energy in mJ; None where one of them is not known."""
        latency_ms, energy_mj = self.figure("latency_ms"), self.figure("energy_mj")
        if self.accuracy_percent is None or not latency_ms or not energy_mj:
            return None
        return self.accuracy_percent / (latency_ms * energy_mj)


def compare(
    device: Device,
    models: list[tuple[str, bytes]],
    plan: MeasurePlan,
    images: Images,
    rounds: int = 1,
    pixels: str | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> list[Entry]:
    """The models, (name, bytes), measured `rounds` times in turns, after each was seen to run.

    `pixels`: one of `preprocessing.PIXELS` for all of them; None finds each model's own on the training images, and
    assumes "raw" where there are none. Raises as `edge.devices.device.Device.measure` does, the model's name before it.
    """
    prepared = []
    for name, model in models:
        tell(f"{name}: checking")
        with _naming(name):
            tried = try_pixels(device, model, images.training) if pixels is None and images.training else {}
            chosen = max(tried, key=tried.__getitem__) if tried else pixels or "raw"
            accuracy = None
            if images.labels is not None:
                accuracy = _accuracy(device, model, (images.images, images.labels), chosen)
            elif rounds * len(models) > 1:
                device.predict(model, images.images[:1], chosen)  # not after minutes that would be lost
        prepared.append((chosen, tried, accuracy))
    found: list[list[Measurement]] = [[] for _ in models]
    for number in range(1, rounds + 1):
        for (name, model), (chosen, _, _), measurements in zip(models, prepared, found, strict=True):
            tell(f"{name}: round {number} of {rounds}")
            with _naming(name):
                measurements.append(device.measure(model, plan, images.images, chosen))
    return [
        Entry(name, chosen, tuple(measurements), accuracy, tried, assumed=pixels is None and not tried)
        for (name, _), (chosen, tried, accuracy), measurements in zip(models, prepared, found, strict=True)
    ]


def try_pixels(device: Device, model: bytes, training: Labelled) -> dict[str, float]:
    """Accuracy in % on some of the labelled images with each of `preprocessing.PIXELS` that the model takes.

    Raises as `edge.devices.device.Device.predict` does.
    """
    picked = np.random.default_rng(0).permutation(len(training[0]))[:TRIAL_IMAGES]
    some = training[0][picked], training[1][picked]
    tried = {"raw": _accuracy(device, model, some, "raw")}
    for pixels in PIXELS:
        if pixels in tried:
            continue
        try:
            tried[pixels] = _accuracy(device, model, some, pixels)
        except ModelError:  # it runs, as was just seen, but does not take these
            continue
    return tried


def _accuracy(device: Device, model: bytes, labelled: Labelled, pixels: str) -> float:
    images, labels = labelled
    return float(np.mean(device.predict(model, images, pixels) == labels)) * 100


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except (ModelError, InvalidMeasurementError) as error:
        raise with_prefix(name, error) from error
