"""Own images in an .npz: read, or refused with the name of what is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import refused, write_npz

from compress.datasets.load import load

pytest_plugins = ("dataset_files",)
pytestmark = pytest.mark.usefixtures("no_real_data")


def test_an_npz_of_ones_own(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "mine.npz")
    own = load(str(path))
    assert (own.name, own.source, own.rule_percent, own.flip) == ("mine", str(path), None, False)
    assert [len(part[0]) for part in (own.train, own.validation, own.test)] == [36, 4, 7]
    assert own.test[1].tolist() == list(range(7))
    instead = load("cifar10", path)  # CIFAR-10 itself, packed as an .npz
    assert (instead.name, instead.rule_percent, instead.flip) == ("cifar10", 70.0, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "y_test is not a file in the archive; wanted arrays x_train"),
        ({"x_train": np.zeros((40, 32, 32, 3), np.float32)}, "x_train is float32 (40, 32, 32, 3)"),
        ({"x_train": np.zeros((40, 28, 28, 1), np.uint8)}, "x_train is uint8 (40, 28, 28, 1)"),
        ({"x_test": np.zeros((7, 3, 32, 32), np.uint8)}, "x_test is uint8 (7, 3, 32, 32)"),
        ({"y_train": np.arange(39) % 10}, "40 images and 39 labels"),
        ({"y_train": np.arange(40)}, "the label 10;"),
        ({"y_train": np.full(40, np.nan)}, "labels of float64"),
        ({"x_train": np.zeros((9, 32, 32, 3), np.uint8), "y_train": np.arange(9)}, "needs at least 10 and 1"),
        ({"x_test": np.zeros((0, 32, 32, 3), np.uint8), "y_test": np.arange(0)}, "needs at least 10 and 1"),
        ({"y_train": np.array([{}] * 40)}, "is no readable .npz"),
    ],
)
def test_wrong_arrays_in_an_npz_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    refused(str(write_npz(tmp_path / "mine.npz", **changes)), None, str(tmp_path / "mine.npz"), message)


def test_an_unreadable_npz_is_refused(tmp_path: Path) -> None:
    whole = write_npz(tmp_path / "whole.npz").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        (tmp_path / "bad.npz").write_bytes(content)
        refused(str(tmp_path / "bad.npz"), None, "is no readable .npz")
    refused(str(tmp_path), None, "is no readable .npz")
    refused("cifra10", None, "cifra10 does not exist; data is cifar10, digits or the path of an .npz")
