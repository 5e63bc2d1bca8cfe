"""CIFAR-10: where its files are found, and what is said about missing or damaged ones."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import refused, write_batch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compress.datasets.cifar10 import places, read_batch
from compress.datasets.dataset import Dataset
from compress.datasets.load import load
from compress.errors import DatasetNotFoundError, UsageError

pytest_plugins = ("dataset_files",)
pytestmark = pytest.mark.usefixtures("no_real_data")


@pytest.fixture
def copy(batches: Path, tmp_path: Path) -> Path:
    """A folder of links, in which a test may replace files."""
    for path in batches.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def _replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


@pytest.mark.slow
def test_places_are_tried_in_order(batches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "keras" / "datasets"
    cache.mkdir(parents=True)
    (cache / "cifar-10-batches-py").symlink_to(batches)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert load().source == str(cache / "cifar-10-batches-py")
    (tmp_path / "variable").symlink_to(batches)
    monkeypatch.setenv("THRONES_DATA", str(tmp_path / "variable"))
    assert load().source == str(tmp_path / "variable")
    assert load("cifar10", batches).source == str(batches)
    assert [what for what, _, there in places(batches) if there] == ["--data", "Keras' cache"]


def test_a_named_place_that_is_missing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("cifar10", tmp_path / "nowhere", "--data", str(tmp_path / "nowhere"), "does not exist")
    monkeypatch.setenv("THRONES_DATA", str(tmp_path / "nothing"))
    refused("cifar10", None, "THRONES_DATA", "does not exist")
    with pytest.raises(UsageError, match="does not exist") as caught:
        load()
    assert not isinstance(caught.value, DatasetNotFoundError)  # the user wanted that folder and no other data


def _no_download(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    from compress.tensorflow_setup import keras

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", answer)


def test_a_failed_download_is_one_line_of_its_own_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Exception("URL fetch failure on https://www.cs.toronto.edu/x.tar.gz: None -- timed out\nmore")

    _no_download(monkeypatch, fail)
    refused("cifar10", None, "URL fetch failure", "timed out", "--data or THRONES_DATA")
    with pytest.raises(DatasetNotFoundError):
        load()


@pytest.mark.slow
def test_a_download_is_the_same_data_as_the_folder(
    cifar: Dataset, batches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [read_batch(batches / f"data_batch_{n}") for n in range(1, 6)]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    test = cifar.test[0], cifar.test[1].astype(np.uint8)[:, None]
    _no_download(monkeypatch, lambda: ((images, labels.astype(np.uint8)[:, None]), test))
    found = load()
    assert (found.name, found.key) == ("cifar10", cifar.key)
    np.testing.assert_array_equal(found.test[1], cifar.test[1])


def test_a_missing_or_truncated_batch_is_named(copy: Path, batches: Path) -> None:
    whole = (batches / "data_batch_2").read_bytes()
    for content in (
        whole[: len(whole) // 2],
        b"",
        b"\x80\x04no pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({}),
    ):
        _replace(copy / "data_batch_2", content)
        refused("cifar10", copy, str(copy / "data_batch_2"), "truncated or damaged", "unpack CIFAR-10 again")
    (copy / "data_batch_2").unlink()
    refused("cifar10", copy, str(copy / "data_batch_2"), "is missing")
    (copy / "data_batch_2").mkdir()
    refused("cifar10", copy, str(copy / "data_batch_2"), "cannot be read: Is a directory")


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.zeros((9_999, 3072), np.uint8), [0] * 9_999, "holds 9999 images, a CIFAR-10 batch has 10000"),
        (np.zeros((10_000, 3071), np.uint8), [0] * 10_000, "cannot reshape"),
        (np.zeros((10_000, 3072), np.float32), [0] * 10_000, "is float32"),
        (np.zeros((10_000, 3072), np.uint8), [0] * 9_999, "10000 images and 9999 labels"),
        (np.zeros((10_000, 3072), np.uint8), [10] + [0] * 9_999, "the label 10;"),
        (np.zeros((10_000, 3072), np.uint8), [-1] + [0] * 9_999, "the label -1;"),
        (np.zeros((10_000, 3072), np.uint8), [0.5] * 10_000, "labels of float64"),
        (np.zeros((10_000, 3072), np.uint8), [2**70] * 10_000, "labels of object"),
        ([[0] * 3], [0] * 10_000, "truncated or damaged"),
    ],
)
def test_wrong_contents_of_a_batch_are_named(copy: Path, rows: Any, labels: Any, message: str) -> None:
    (copy / "data_batch_1").unlink()
    write_batch(copy / "data_batch_1", rows, labels)
    refused("cifar10", copy, str(copy / "data_batch_1"), message)


class _Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_code_in_a_pickle_is_not_run(copy: Path) -> None:
    mark = copy / "executed"
    for attack in (
        _Evil(os.mkdir, str(mark)),
        _Evil(eval, f"__import__('os').mkdir({str(mark)!r})"),
        {b"data": np.zeros(3), b"labels": _Evil(np.save, str(mark), 3)},
        _Evil(np.load, str(mark)),
    ):
        _replace(copy / "data_batch_1", pickle.dumps(attack))
        refused("cifar10", copy, "has no place in a CIFAR-10 batch")
    assert not mark.exists()


_SMALL = pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2]}, protocol=2)[:400]


def test_a_damaged_memo_index_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")  # of a list of 16 GB
    refused("cifar10", tmp_path, "truncated or damaged", "memo index 2147483647")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 120), st.binary(min_size=1, max_size=4))
def test_any_damage_to_a_pickle_is_a_usage_error(tmp_path: Path, at: int, junk: bytes) -> None:
    (tmp_path / "data_batch_1").write_bytes(_SMALL[:at] + junk + _SMALL[at + len(junk) :])
    with pytest.raises(UsageError, match="data_batch_1"):
        load("cifar10", tmp_path)


def test_a_folder_of_something_else_says_what_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "0_cat.png").write_bytes(b"x")  # test_deployment is not the training set
    refused("cifar10", tmp_path, "data_batch_1 is missing", "data_batch_1..5 and test_batch")
