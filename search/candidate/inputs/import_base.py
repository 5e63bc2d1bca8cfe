"""Import a user's base network: detect the scaling of its input, evaluate it, save it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from compress.architecture import BASE
from compress.datasets.dataset import Dataset
from compress.errors import UsageError
from compress.importing.checkpoint import read_checkpoint
from compress.io import atomic_write
from compress.network import Weights, build, load_weights, save_weights
from compress.training.train import accuracy, logits
from edge.comparison import TRIAL_IMAGES
from edge.runtime.preprocessing import PIXELS, encode, pixel_values

TAKEN = ("raw", "unit")
"""The pixels that a base may have been trained on: 0..255, and 0..1, which can be made to take 0..255."""
CHANCE_PERCENT = 20.0
"""No better than this is no classifier of ten classes."""


@dataclass(frozen=True)
class ImportReport:
    """Where imported weights came from and what they reach, in percent; it is saved beside them.

    files: the SHA-256 of each; tried: accuracy on validation images for each of `edge.runtime.preprocessing.PIXELS`.
    """

    command: str
    files: dict[str, str]
    pixels: str
    data: str
    data_key: str
    tried: dict[str, float]
    validation_accuracy: float
    test_accuracy: float


def import_base(
    source: Path, out: Path | None, data: Dataset, pixels: str, tell: Callable[[str], None]
) -> tuple[Path, ImportReport]:
    """Write the network at `source` as an .npz for `base`, with a .json beside it; return its place and report.

    `pixels`, one of TAKEN: what it was trained on. The accuracies are those of the written weights.

    Raises UsageError when it is not the course's network, or takes other pixels or none.
    """
    if pixels not in TAKEN:
        raise UsageError(f"--pixels is {' or '.join(TAKEN)}, got {pixels}")
    if out is not None and out.suffix != ".npz":
        raise UsageError(f"--out {out} must end in .npz, so that it cannot take another file's place")
    tell("reading the network")
    checkpoint = read_checkpoint(source)
    path = out or Path(f"{checkpoint.name}.npz")
    _check_place(path)
    network = build(BASE)
    network.set_weights(checkpoint.weights)
    tell("finding its pixels")
    tried = _try_pixels(network, data)
    _check_pixels(source, tried, pixels, min(TRIAL_IMAGES, len(data.validation[0])))
    weights = checkpoint.weights if pixels == "raw" else _for_raw_pixels(checkpoint.weights, network)
    content, saved = _as_saved(weights)
    network.set_weights(saved)
    tell("accuracy on all validation and test images")
    about = ImportReport(
        command=f"thrones import {checkpoint.files[0].name}" + (" --pixels unit" if pixels == "unit" else ""),
        files={file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in checkpoint.files},
        pixels=pixels,
        data=data.name,
        data_key=data.key,
        tried=tried,
        validation_accuracy=accuracy(network, *data.validation),
        test_accuracy=accuracy(network, *data.test),
    )
    atomic_write(path, content)
    atomic_write(path.with_suffix(".json"), (json.dumps(asdict(about), indent=1) + "\n").encode())
    return path, about


def _check_place(path: Path) -> None:
    """Raise UsageError where the report would replace a file that is not one."""
    beside = path.with_suffix(".json")
    if beside.exists() and b'"data_key"' not in beside.read_bytes():
        raise UsageError(f"{beside} is there and not of an import; name another place with --out")


def _try_pixels(network: Any, data: Dataset) -> dict[str, float]:
    """Return the accuracy in percent on validation images that are scaled as each of PIXELS."""
    picked = np.random.default_rng(0).permutation(len(data.validation[0]))[:TRIAL_IMAGES]
    images, labels = data.validation[0][picked], data.validation[1][picked]
    encoded = [encode(images, pixel_values(pixels).astype(np.float32), "NHWC") for pixels in PIXELS]
    answers = logits(network, np.concatenate(encoded)).argmax(axis=1).reshape(len(PIXELS), -1)
    return {pixels: float(np.mean(each == labels) * 100) for pixels, each in zip(PIXELS, answers, strict=True)}


def _check_pixels(source: Path, tried: dict[str, float], pixels: str, count: int) -> None:
    found = max(tried, key=lambda name: (tried[name], name == pixels))
    if tried[found] <= CHANCE_PERCENT:
        each = ", ".join(f"{percent:.1f} % with {PIXELS[name]}" for name, percent in tried.items())
        raise UsageError(
            f"{source} is near chance on {count:,} validation images with every scaling of their pixels: {each}; train "
            "it, its classes in the order of CIFAR-10 and its layers as the course builds them"
        )
    if found == pixels:
        return
    remedies = {
        "raw": "leave out --pixels unit",
        "unit": "give --pixels unit, which builds the division by 255 into its first BatchNormalization, exactly",
    }
    otherwise = "train it again on raw 0..255, as its padding with zeros does not let these be built in exactly"
    raise UsageError(
        f"{source} was trained on pixels {PIXELS[found]}: {tried[found]:.1f} % of {count:,} validation images, and "
        f"{tried[pixels]:.1f} % with {PIXELS[pixels]}. A base takes 0..255: {remedies.get(found, otherwise)}"
    )


def _for_raw_pixels(weights: Weights, network: Any) -> Weights:
    """Return the weights of a network for 0..1, changed to compute the same from 0..255.

    In the statistics of the first BatchNormalization and not in the kernel before it, which would leave that 255 times
    smaller than any training makes it: fine-tuning would tear it apart, and float16 would round it.
    """
    epsilon = network.layers[1].epsilon
    mean, variance = (weights[at].astype(np.float64) for at in (3, 4))
    moved = (mean * 255, (variance + epsilon) * 255**2 - epsilon)
    return [*weights[:3], *(values.astype(np.float32) for values in moved), *weights[5:]]


def _as_saved(weights: Weights) -> tuple[bytes, Weights]:
    """Return the bytes of their file, and the weights that it gives back."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "base.npz"
        save_weights(path, weights)
        return path.read_bytes(), load_weights(path)
