"""Measure models by one protocol and in turns: A, B, A, B, so that a drift of the machine hits all of them alike."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edge.devices.device import Device
from edge.errors import InvalidMeasurementError, ModelError, with_prefix
from edge.measuring.measurement import Measurement
from edge.measuring.plan import MeasurePlan
from edge.runtime.preprocessing import PIXELS

TRIAL_IMAGES = 1000
"""Enough to distinguish 75 % from 70 %, and done in a second on a host."""

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Images:
    """uint8 (N, 32, 32, 3), 0..255, and N labels 0..9 or None.

    `training`: other images with labels, on which a model's pixels are found.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None
    training: Labelled | None = None


@dataclass(frozen=True)
class Entry:
    """One model's line: every round's measurement raw, each figure the median over the rounds.

    `pixels`: what it was given. `tried`: the accuracy in % on training images with each of
    `preprocessing.PIXELS` that it takes; empty where `pixels` was not found that way. `assumed`: neither
    found nor given by the user.
    """

    name: str
    pixels: str
    rounds: tuple[Measurement, ...]
    accuracy_percent: float | None = None
    tried: Mapping[str, float] = field(default_factory=dict)
    assumed: bool = False

    def figure(self, name: str) -> float | None:
        """Return the figure of this name in `edge.measuring.measurement.DEFINITIONS`, or None."""
        figures: list[float | None] = [getattr(each, name) for each in self.rounds]
        values = [figure for figure in figures if figure is not None]
        if not values:
            return None
        if len(set(values)) == 1:
            return values[0]  # a number of bytes stays a whole one
        return median(values)

    @property
    def fom(self) -> float | None:
        """Return accuracy in % over latency in ms and energy in mJ; None where one of them is not known."""
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
    log: Callable[[str], object] = lambda line: None,
) -> list[Entry]:
    """Measure models `rounds` times in turns, after each was seen to run.

    Args:
        device: an open device.
        models: (name, bytes) of each.
        plan: of each measurement.
        images: to measure with, and to find accuracy and pixels.
        rounds: how often all of them are measured.
        pixels: one of `preprocessing.PIXELS` for all of them; None finds each model's own on the training
            images, and assumes "raw" where there are none.
        log: hears what is done next.

    Returns:
        An entry for each model, in order.

    Raises as `edge.devices.device.Device.measure` does, with the model's name before the message.
    """
    will_take_long = rounds * len(models) > 1
    entries = []
    for name, model in models:
        log(f"{name}: checking")
        with _naming(name):
            entries.append(_check(device, name, model, images, pixels, will_take_long))
    found: list[list[Measurement]] = [[] for _ in models]
    for number in range(1, rounds + 1):
        for (name, model), entry, measurements in zip(models, entries, found, strict=True):
            log(f"{name}: round {number} of {rounds}")
            with _naming(name):
                measurements.append(device.measure(model, plan, images.images, entry.pixels))
    return [
        replace(entry, rounds=tuple(measurements)) for entry, measurements in zip(entries, found, strict=True)
    ]


def _check(
    device: Device, name: str, model: bytes, images: Images, pixels: str | None, will_take_long: bool
) -> Entry:
    """Return a model's entry without measurements: its pixels and its accuracy."""
    tried: dict[str, float] = {}
    if pixels is None and images.training is not None:
        tried = try_pixels(device, model, images.training)
    chosen = pixels or "raw"
    if tried:
        chosen = max(tried, key=tried.__getitem__)
    accuracy = None
    if images.labels is not None:
        accuracy = _accuracy(device, model, (images.images, images.labels), chosen)
    elif will_take_long:
        device.predict(model, images.images[:1], chosen)  # a fault should not show after minutes
    return Entry(name, chosen, (), accuracy, tried, assumed=pixels is None and not tried)


def try_pixels(device: Device, model: bytes, training: Labelled) -> dict[str, float]:
    """Return the accuracy in % on some labelled images with each of `preprocessing.PIXELS` that the model takes.

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
