"""Run a submitted model here, and compare it with its specification and its claimed latency."""

import json
from pathlib import Path

import numpy as np

from compress.conversion.operators import verify_operators
from compress.datasets.dataset import Dataset
from compress.errors import CandidateError
from compress.spec import CompressionSpec
from edge.comparison import try_pixels
from edge.devices.local import LocalDevice
from edge.diagnostics import DOUBTFUL, OK, WRONG, Finding
from edge.errors import InvalidMeasurementError, one_line
from edge.measuring.plan import plan_for
from edge.meters.meter import open_meter
from edge.runtime.preprocessing import PIXELS
from edge.runtime.tflite import read_operators
from search.report.formatting import significant
from search.submission.check.zip_files import read
from search.submission.reproduce import accuracy_percent

MAX_LATENCY_RATIO = 1.5
"""Two measurements of one model on one kind of processor may differ by this factor without a warning."""


def measure_accuracy(model: bytes, data: Dataset, least_percent: float) -> tuple[float, str]:
    """Return the accuracy in percent on all test images, and the input scaling in words where it is not 0..255.

    Another scaling is tried only where the accuracy is below `least_percent`. Raises EdgeError for a model that does
    not run.
    """
    images, labels = data.test
    with LocalDevice() as here:  # the model, which may be anybody's, runs in a process of its own
        accuracy = accuracy_percent(here.predict(model, images), labels)
        if accuracy >= least_percent:
            return accuracy, ""
        tried = try_pixels(here, model, data.train)
        pixels = max(tried, key=tried.__getitem__)
        if pixels == "raw":
            return accuracy, ""
        return accuracy_percent(here.predict(model, images, pixels), labels), f", as pixels {PIXELS[pixels]}"


def check_spec(folder: Path, model: bytes) -> Finding:
    """Check that the specification leads to the model: its operators, their order and the size of every map."""
    try:
        spec = CompressionSpec.from_dict(json.loads(read(folder / "spec.json")))
        verify_operators(read_operators(model), spec.architecture(), spec.quantization, spec.io_dtype)
    except (ValueError, CandidateError) as error:
        return Finding("spec.json", one_line(error), WRONG, "pack the winner's spec")
    return Finding("spec.json", f"{spec.quantization}, {spec.architecture().macs:,} MACs, as the model is built", OK)


def check_speed(model: bytes, claimed_ms: float, measured_on: tuple[str, str] | None) -> Finding:
    """Compare the claimed latency with one measured here. Only those of the same processor must be alike.

    measured_on: the device and the processor of the claim, None where they are unknown.
    """
    images = np.zeros((100, 32, 32, 3), np.uint8)
    try:
        with LocalDevice(open_meter("estimate://1W")) as device:
            here = device.measure(model, plan_for("search", 0.0), images)
    except InvalidMeasurementError as error:  # a busy machine says nothing against the claim
        found = f"{significant(claimed_ms)} ms claimed, and none here: {one_line(error)}"
        return Finding("latency", found, DOUBTFUL, "check again")
    cpu = here.environment.cpu
    where = f" on {measured_on[1]}" if measured_on else ""
    found = f"{significant(claimed_ms)} ms claimed{where}, {significant(here.latency_ms)} ms here on {cpu}"
    ratio = here.latency_ms / claimed_ms
    if measured_on == (here.device, cpu) and not 1 / MAX_LATENCY_RATIO <= ratio <= MAX_LATENCY_RATIO:
        return Finding("latency", found, DOUBTFUL, "is this machine busy? check again, or replay")
    return Finding("latency", found, OK)
