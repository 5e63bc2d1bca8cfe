"""CIFAR-10: find its files, read them without running what a pickle may hold, or download them."""

import io
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from compress.datasets.dataset import Arrays, Dataset, checked_arrays, split
from compress.datasets.npz import load_npz
from compress.errors import DatasetNotFoundError, UsageError, one_line

NAME = "cifar10"
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCH_IMAGES = 10_000
TEST_IMAGES = 10_000
RULE_PERCENT = 70.0
VARIABLE = "THRONES_DATA"
KERAS_CACHE = "Keras' cache"
FOLDER = "cifar-10-batches-py"
UNPACK_AGAIN = "unpack CIFAR-10 again"

_NUMPY_NAMES = ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer")
_MEMO_OPCODES = ("PUT", "BINPUT", "LONG_BINPUT")


def places(folder: Path | None = None) -> list[tuple[str, Path, bool]]:
    """Return where CIFAR-10 is searched, in that order: (name of the place, path, True where it exists)."""
    candidates: list[tuple[str, Path]] = []
    if folder is not None:
        candidates.append(("--data", folder))
    elif os.environ.get(VARIABLE):
        candidates.append((VARIABLE, Path(os.environ[VARIABLE])))
    cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets"
    for inner in (FOLDER, f"{FOLDER}-target/{FOLDER}"):
        candidates.append((KERAS_CACHE, cache / inner))
    return [(what, path, os.path.exists(path)) for what, path in candidates]


def load_cifar10(folder: Path | None) -> Dataset:
    """Return CIFAR-10 from the first place that exists, or download it.

    Raises:
        UsageError: a named place is missing, or the data is damaged.
        DatasetNotFoundError: CIFAR-10 is nowhere and cannot be downloaded.
    """
    for what, path, exists in places(folder):
        if exists and path.is_file():
            return load_npz(path, name=NAME, rule_percent=RULE_PERCENT, flip=True)
        if exists:
            inside = path / FOLDER
            return _read_folder(inside if inside.is_dir() else path)
        if what != KERAS_CACHE:
            raise UsageError(
                f"{what}: {path} does not exist",
                remedy=f"give a {FOLDER} folder or an .npz with x_train, y_train, x_test, y_test",
            )
    return _download()


def _download() -> Dataset:
    from compress.tensorflow_setup import keras  # takes seconds, and only the download needs it

    source = "Keras' download"
    try:
        # The arrays and not the files: their folder changes with Keras' version and with what is writable.
        train, test = keras.datasets.cifar10.load_data()
    except Exception as error:  # Keras raises a bare Exception for every failed download
        raise DatasetNotFoundError(
            f"CIFAR-10 could not be downloaded ({one_line(error)})",
            remedy=f"put {FOLDER} anywhere and name it with --data or {VARIABLE}",
        ) from error
    return _cifar10(source, checked_arrays(source, *train), checked_arrays(source, *test))


def _read_folder(folder: Path) -> Dataset:
    batches = [read_batch(folder / f"data_batch_{number}") for number in range(1, 6)]
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return _cifar10(str(folder), (images, labels), read_batch(folder / "test_batch"))


def _cifar10(source: str, train: Arrays, test: Arrays) -> Dataset:
    return split(NAME, source, train, test, flip=True, rule_percent=RULE_PERCENT)


def read_batch(path: Path) -> Arrays:
    """Return images and labels of one file of the `cifar-10-batches-py` folder.

    Raises UsageError where it is missing, damaged or something else.
    """
    try:
        batch = _unpickle(path.read_bytes())
        labels = np.asarray(batch[b"labels"])
        planes = batch[b"data"].reshape(-1, 3, 32, 32)  # of red, green and blue
        images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    except FileNotFoundError as error:
        raise UsageError(
            f"{path} is missing", remedy=f"a {FOLDER} folder has data_batch_1..5 and test_batch"
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # damaged pickles raise whatever the bytes happen to say
        raise UsageError(
            f"{path} is truncated or damaged ({one_line(error)})", remedy=UNPACK_AGAIN
        ) from error
    if len(images) != BATCH_IMAGES:
        raise UsageError(
            f"{path} holds {len(images)} images, a CIFAR-10 batch has {BATCH_IMAGES}", remedy=UNPACK_AGAIN
        )
    return checked_arrays(str(path), images, labels)


class _PlainUnpickler(pickle.Unpickler):
    """Reads dicts of arrays and lists; anything else in a pickle could run code."""

    def find_class(self, module: str, name: str) -> Any:
        is_numpys = module.split(".")[0] == "numpy" and name in _NUMPY_NAMES
        if is_numpys or (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a CIFAR-10 batch")


def _unpickle(content: bytes) -> Any:
    # The unpickler allocates what a length or a memo index says, and a damaged one may say all of the
    # machine's memory. `genops` checks each length against the content; an index counts the objects before it.
    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name in _MEMO_OPCODES and int(argument or 0) > number:
            raise pickle.UnpicklingError(f"memo index {argument} after {number} operations")
    return _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
