"""How images are split, and which of them calibrate."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from dataset_files import hashes, write_npz

from compress.datasets.dataset import Dataset, split
from compress.datasets.load import load
from compress.errors import UsageError

pytest_plugins = ("dataset_files",)
pytestmark = pytest.mark.usefixtures("no_real_data")


def test_the_split_is_disjoint_complete_and_keeps_the_labels(cifar: Dataset, batches: Path) -> None:
    assert [len(part[0]) for part in (cifar.train, cifar.validation, cifar.test)] == [45_000, 5_000, 10_000]
    train, held, test = (hashes(part[0]) for part in (cifar.train, cifar.validation, cifar.test))
    assert len(train | held | test) == 60_000
    labels = {}
    for path in batches.iterdir():
        batch = pickle.loads(path.read_bytes())  # noqa: S301  written above
        labels.update(zip((row.tobytes() for row in batch[b"data"]), batch[b"labels"], strict=True))
    for images, found in (cifar.train, cifar.validation, cifar.test):
        for image, label in zip(images[:500], found[:500], strict=True):
            assert labels[image.transpose(2, 0, 1).tobytes()] == label  # planes of red, green and blue
    assert (cifar.rule_percent, cifar.flip) == (70.0, True)


def test_the_split_and_the_key_are_the_same_every_time(cifar: Dataset, batches: Path) -> None:
    again = load("cifar10", batches.parent)  # the folder above is as good
    assert again.key == cifar.key


def test_the_positions_of_the_split_never_change() -> None:
    """A trained base is tied to them: 5,000 of 50,000 by NumPy's PCG64 with seed 2021."""
    held = np.sort(np.random.default_rng(2021).permutation(50_000)[:5_000])
    images = np.zeros((50_000, 1), np.uint8)
    made = split("x", "x", (images, np.arange(50_000)), (images, images), flip=True, rule_percent=0)
    np.testing.assert_array_equal(made.validation[1], held)
    assert held[:4].tolist() == [5, 7, 17, 24]


def test_calibration_takes_training_images_alone(cifar: Dataset) -> None:
    chosen = cifar.calibration()
    assert chosen.shape == (200, 32, 32, 3)
    assert len(hashes(chosen)) == 200
    assert hashes(chosen) <= hashes(cifar.train[0])
    np.testing.assert_array_equal(chosen, cifar.calibration(200))
    assert hashes(cifar.calibration(50)) <= hashes(chosen)


def test_a_small_data_set_calibrates_with_what_it_has(tmp_path: Path) -> None:
    own = load(str(write_npz(tmp_path / "mine.npz")))
    assert hashes(own.calibration()) == hashes(own.train[0])


@pytest.mark.parametrize("count", [0, -1, 1198])
def test_a_calibration_count_out_of_reach_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"1 to 1197 training images of digits, got {count}"):
        load("digits").calibration(count)


def test_the_key_depends_on_training_and_validation_but_not_on_the_test_set() -> None:
    digits = load("digits")
    other_test = Dataset("x", "x", digits.train, digits.validation, digits.train, False, 0)
    assert other_test.key == digits.key
    relabelled = digits.train[0], (digits.train[1] + 1) % 10
    assert Dataset("x", "x", relabelled, digits.validation, digits.test, False, 0).key != digits.key


def test_digits_are_1797_images_without_overlap() -> None:
    digits = load("digits")
    assert [len(part[0]) for part in (digits.train, digits.validation, digits.test)] == [1197, 300, 300]
    parts = [hashes(part[0]) for part in (digits.train, digits.validation, digits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1797
    for images, labels in (digits.train, digits.validation, digits.test):
        assert images.dtype == np.uint8
        assert images.shape[1:] == (32, 32, 3)
        assert images.max() == 255
        assert set(labels.tolist()) == set(range(10))
    assert (digits.flip, digits.rule_percent) == (False, 97.0)
