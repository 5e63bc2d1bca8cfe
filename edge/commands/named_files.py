"""The files that a user names on the command line: models and images."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.comparison import Images, Labelled
from edge.errors import ModelError, UsageError, one_line, with_prefix
from edge.runtime.tflite import check_header, check_images


def read_model(path: Path) -> bytes:
    """Return a .tflite or .onnx file's bytes. Raises UsageError without the file, ModelError for another kind."""
    try:
        model = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read model {path} ({error.strerror})",
            remedy="give a .tflite or .onnx file",
        ) from error
    try:
        check_header(model)
    except ModelError as error:
        raise with_prefix(str(path), error) from error
    return model


def read_images(path: Path) -> Images:
    """Return the images of an .npz: x uint8 (N, 32, 32, 3); optional y, N labels; optional x_train and y_train.

    Raises UsageError for a file that cannot be read or holds something else.
    """
    arrays = _load_arrays(path)
    if "x" not in arrays:
        raise UsageError(
            f"{path} holds no array x",
            remedy="save one with numpy.savez(FILE, x=images, y=labels)",
        )
    images, labels = _pair(path, arrays, "x", "y")
    training: Labelled | None = None
    if "x_train" in arrays and "y_train" in arrays:
        inputs, targets = _pair(path, arrays, "x_train", "y_train")
        if targets is not None:
            training = (inputs, targets)
    return Images(images, labels, training)


def _pair(
    path: Path, arrays: dict[str, NDArray[Any]], x: str, y: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    images, labels = arrays[x], arrays.get(y)
    try:
        check_images(images)
    except UsageError as error:
        raise with_prefix(f"{path}: {x}", error) from error
    if labels is not None and (labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer)):
        raise UsageError(f"{path}: {y} is {labels.dtype} {labels.shape}; {len(images)} integers are needed")
    return images, labels


def _load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {}
        with loaded as archive:
            return {name: archive[name] for name in ("x", "y", "x_train", "y_train") if name in archive}
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise UsageError(
            f"cannot read images {path} ({reason})",
            remedy="give a .npz file",
        ) from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(
            f"{path} is no .npz file ({one_line(error)})",
            remedy="save one with numpy.savez",
        ) from error
