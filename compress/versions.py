"""What a trained network and a converted model depend on besides what is asked for: the code that makes them."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

TRAINING_VERSION = 2
"""Count it up whenever equal specification, base, data and seed come to other weights than before: a change of
optimiser, schedule, augmentation, order of the images, inheritance or resizing. Networks of another version are
neither taken from the cache nor mixed in one study."""

CONVERSION_VERSION = 2
"""Count it up whenever equal weights become another `.tflite`: a change of the deployed network or of the converter's
settings."""


def tensorflow_version() -> str:
    """The installed version, such as "2.21.0", without loading it."""
    return _installed("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tf-nightly")


@cache
def _installed(*names: str) -> str:
    """The version of the first of these packages that is there."""
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"


def training_versions() -> dict[str, int | str]:
    """What trained weights depend on."""
    return {
        "training version": TRAINING_VERSION,
        "tensorflow": tensorflow_version(),
        "tf-keras": _installed("tf-keras"),
        "tensorflow-model-optimization": _installed("tensorflow-model-optimization"),
    }


def conversion_versions() -> dict[str, int | str]:
    """What a converted model depends on, besides its weights."""
    return {"conversion version": CONVERSION_VERSION, "tensorflow": tensorflow_version()}
