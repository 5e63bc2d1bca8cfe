"""The course's test set: a `test_deployment` folder of 10,000 files `<index>_<label>.png`."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compress.datasets.cifar10 import LABELS, TEST_IMAGES
from compress.datasets.dataset import Arrays, Dataset, Images
from compress.errors import UsageError, one_line

MAX_SHOWN_NAMES = 6
"""Of the files that are missing or wrong, an error names these first ones."""

_FILE_NAME = re.compile(r"(0|[1-9]\d*)_([a-z]+)\.png")


@dataclass(frozen=True)
class _File:
    path: Path
    label: int


def with_test_deployment(data: Dataset, folder: Path) -> Dataset:
    """Return the same training and validation images with the course's folder as the test set."""
    return replace(data, source=f"{data.source}, test set {folder}", test=read_test_deployment(folder))


def read_test_deployment(folder: Path) -> Arrays:
    """Return images and labels of the course's folder, in the order of their index.

    Raises UsageError that names what is missing, too many or misnamed, and for a damaged file.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no folder", remedy="a test_deployment folder holds <index>_<label>.png files"
        )
    files = _find_files(folder)
    images = np.stack([_read_png(files[index].path) for index in range(TEST_IMAGES)])
    labels = np.array([files[index].label for index in range(TEST_IMAGES)], dtype=np.int64)
    return images, labels


def _find_files(folder: Path) -> dict[int, _File]:
    found: dict[int, _File] = {}
    misnamed, extra = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):  # macOS leaves .DS_Store and ._<name> behind
            continue
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or match[2] not in LABELS:
            misnamed.append(path.name)
            continue
        index = int(match[1])
        if index >= TEST_IMAGES or index in found:
            extra.append(path.name)
        else:
            found[index] = _File(path, LABELS.index(match[2]))
    missing = [f"{index}_<label>.png" for index in range(TEST_IMAGES) if index not in found]
    kinds = {"missing": missing, "too many": extra, "misnamed": misnamed}
    wrong = "; ".join(_listed(names, kind) for kind, names in kinds.items() if names)
    if wrong:
        raise UsageError(
            f"{folder} is no test_deployment of {TEST_IMAGES:,} images <index>_<label>.png, index "
            f"0..{TEST_IMAGES - 1} without padding, label one of {', '.join(LABELS)}: {wrong}"
        )
    return found


def _listed(names: list[str], kind: str) -> str:
    """Return "12 are missing: 3_<label>.png, ...", with the first names."""
    first = ", ".join(names[:MAX_SHOWN_NAMES])
    if len(names) > MAX_SHOWN_NAMES:
        first += ", ..."
    verb = "is" if len(names) == 1 else "are"
    return f"{len(names)} {verb} {kind}: {first}"


def _read_png(path: Path) -> Images:
    from PIL import Image  # only this format needs it

    try:
        with Image.open(path) as picture:
            image = np.asarray(picture)
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError or its own
        raise UsageError(f"{path} is no readable PNG ({one_line(error)})", remedy="copy it again") from error
    if image.shape != (32, 32, 3) or image.dtype != np.uint8:
        raise UsageError(f"{path} is {image.dtype} {image.shape}, wanted uint8 (32, 32, 3)")
    return image
