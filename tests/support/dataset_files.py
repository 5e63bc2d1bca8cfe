"""Files of data sets, and how they are refused; a plugin with fixtures for the tests of data sets."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.datasets.dataset import Dataset
from compress.datasets.load import load
from compress.errors import UsageError


def write_batch(path: Path, rows: Any, labels: Any) -> None:
    path.write_bytes(pickle.dumps({b"data": rows, b"labels": labels, b"batch_label": b"x"}, protocol=4))


def write_npz(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(1)
    arrays = {
        "x_train": rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8),
        "y_train": np.arange(40) % 10,
        "x_test": rng.integers(0, 256, (7, 32, 32, 3), dtype=np.uint8),
        "y_test": np.arange(7)[:, None].astype(np.uint8),
        **changes,
    }
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def hashes(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def refused(name: str, folder: Path | None, *parts: str) -> str:
    """`load` refuses it in one line that holds each of `parts`; that line."""
    with pytest.raises(UsageError) as caught:
        load(name, folder)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    for part in parts:
        assert part in line
    return line


@pytest.fixture(scope="session")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like CIFAR-10's, 60,000 images of noise, no two alike; tests must not write into it."""
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (10_000, 3072), dtype=np.uint8)
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        labels = [int(label) for label in rng.integers(0, 10, 10_000)]
        write_batch(folder / name, noise + np.uint8(number), labels)
    return folder


@pytest.fixture(scope="session")
def cifar(batches: Path) -> Dataset:
    return load("cifar10", batches)


@pytest.fixture
def no_real_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's folders nor the network."""
    monkeypatch.delenv("THRONES_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "no-keras-here"))
