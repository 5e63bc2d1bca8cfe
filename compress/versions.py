"""Versions of the code on which trained networks and converted models depend."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

TRAINING_VERSION = 2
"""Increase it whenever equal specification, base, data and seed give other weights than before: a change of
optimiser, schedule, augmentation, order of the images, inheritance or resizing. Networks of another version are
neither taken from the cache nor mixed in one study."""

CONVERSION_VERSION = 2
"""Increase it whenever equal weights give another `.tflite`: a change of the exported network or of the converter's
settings."""


def tensorflow_version() -> str:
    """Return TensorFlow's installed version, such as "2.21.0", without loading it."""
    return _installed("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tf-nightly")


@cache
def _installed(*names: str) -> str:
    """Return the version of the first of these packages that is installed."""
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"


def training_versions() -> dict[str, int | str]:
    """Return the versions on which trained weights depend."""
    return {
        "training version": TRAINING_VERSION,
        "tensorflow": tensorflow_version(),
        "tf-keras": _installed("tf-keras"),
        "tensorflow-model-optimization": _installed("tensorflow-model-optimization"),
    }


def conversion_versions() -> dict[str, int | str]:
    """Return the versions on which a converted model depends, besides its weights."""
    return {"conversion version": CONVERSION_VERSION, "tensorflow": tensorflow_version()}
