"""Where images are found, how they are split, and what is said about damaged ones."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from compress.datasets import dataset as module
from compress.datasets.dataset import CIFAR10_LABELS, Dataset, load, places, read_test_deployment
from compress.datasets.dataset import with_test_deployment as with_test
from compress.errors import NotAtHandError, UsageError


def _write_batch(path: Path, rows: Any, labels: Any) -> None:
    path.write_bytes(pickle.dumps({b"data": rows, b"labels": labels, b"batch_label": b"x"}, protocol=4))


@pytest.fixture(scope="session")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like CIFAR-10's, 60,000 images of noise, no two alike; tests must not write into it."""
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (10_000, 3072), dtype=np.uint8)
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        labels = [int(label) for label in rng.integers(0, 10, 10_000)]
        _write_batch(folder / name, noise + np.uint8(number), labels)
    return folder


@pytest.fixture(scope="session")
def cifar(batches: Path) -> Dataset:
    return load("cifar10", batches)


@pytest.fixture
def copy(batches: Path, tmp_path: Path) -> Path:
    """A folder of links, in which a test may replace files."""
    for path in batches.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_real_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's folders nor the network."""
    monkeypatch.delenv("THRONES_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "no-keras-here"))


def _replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def _hashes(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def _refused(name: str, folder: Path | None, *parts: str) -> str:
    """`load` refuses it in one line that holds each of `parts`; that line."""
    with pytest.raises(UsageError) as caught:
        load(name, folder)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    for part in parts:
        assert part in line
    return line


def test_the_split_is_disjoint_complete_and_keeps_the_labels(cifar: Dataset, batches: Path) -> None:
    assert [len(part[0]) for part in (cifar.train, cifar.validation, cifar.test)] == [45_000, 5_000, 10_000]
    train, held, test = (_hashes(part[0]) for part in (cifar.train, cifar.validation, cifar.test))
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
    made = module._split("x", "x", (images, np.arange(50_000)), (images, images), flip=True, rule_percent=0)
    np.testing.assert_array_equal(made.validation[1], held)
    assert held[:4].tolist() == [5, 7, 17, 24]


def test_calibration_takes_training_images_alone(cifar: Dataset) -> None:
    chosen = cifar.calibration()
    assert chosen.shape == (200, 32, 32, 3)
    assert len(_hashes(chosen)) == 200
    assert _hashes(chosen) <= _hashes(cifar.train[0])
    np.testing.assert_array_equal(chosen, cifar.calibration(200))
    assert _hashes(cifar.calibration(50)) <= _hashes(chosen)


def test_a_small_data_set_calibrates_with_what_it_has(tmp_path: Path) -> None:
    own = load(str(_npz(tmp_path / "mine.npz")))
    assert _hashes(own.calibration()) == _hashes(own.train[0])


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
    parts = [_hashes(part[0]) for part in (digits.train, digits.validation, digits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1797
    for images, labels in (digits.train, digits.validation, digits.test):
        assert images.dtype == np.uint8
        assert images.shape[1:] == (32, 32, 3)
        assert images.max() == 255
        assert set(labels.tolist()) == set(range(10))
    assert (digits.flip, digits.rule_percent) == (False, 97.0)


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
    _refused("cifar10", tmp_path / "nowhere", "--data", str(tmp_path / "nowhere"), "does not exist")
    monkeypatch.setenv("THRONES_DATA", str(tmp_path / "nothing"))
    _refused("cifar10", None, "THRONES_DATA", "does not exist")
    with pytest.raises(UsageError, match="does not exist") as caught:
        load()
    assert not isinstance(caught.value, NotAtHandError)  # the user wanted that folder and no other data


def _no_download(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    from compress.tensorflow_setup import keras

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", answer)


def test_a_failed_download_is_one_line_of_its_own_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Exception("URL fetch failure on https://www.cs.toronto.edu/x.tar.gz: None -- timed out\nmore")

    _no_download(monkeypatch, fail)
    _refused("cifar10", None, "URL fetch failure", "timed out", "--data or THRONES_DATA")
    with pytest.raises(NotAtHandError):
        load()


def test_a_download_is_the_same_data_as_the_folder(
    cifar: Dataset, batches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [module._batch(batches / f"data_batch_{n}") for n in range(1, 6)]
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
        _refused("cifar10", copy, str(copy / "data_batch_2"), "truncated or damaged", "unpack CIFAR-10 again")
    (copy / "data_batch_2").unlink()
    _refused("cifar10", copy, str(copy / "data_batch_2"), "is missing")
    (copy / "data_batch_2").mkdir()
    _refused("cifar10", copy, str(copy / "data_batch_2"), "cannot be read: Is a directory")


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
    _write_batch(copy / "data_batch_1", rows, labels)
    _refused("cifar10", copy, str(copy / "data_batch_1"), message)


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
        _refused("cifar10", copy, "has no place in a CIFAR-10 batch")
    assert not mark.exists()


_SMALL = pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2]}, protocol=2)[:400]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 120), st.binary(min_size=1, max_size=4))
def test_any_damage_to_a_pickle_is_a_usage_error(tmp_path: Path, at: int, junk: bytes) -> None:
    (tmp_path / "data_batch_1").write_bytes(_SMALL[:at] + junk + _SMALL[at + len(junk) :])
    with pytest.raises(UsageError, match="data_batch_1"):
        load("cifar10", tmp_path)


def test_a_folder_of_something_else_says_what_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "0_cat.png").write_bytes(b"x")  # test_deployment is not the training set
    _refused("cifar10", tmp_path, "data_batch_1 is missing", "data_batch_1..5 and test_batch")


def _npz(path: Path, **changes: Any) -> Path:
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


def test_an_npz_of_ones_own(tmp_path: Path) -> None:
    path = _npz(tmp_path / "mine.npz")
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
    _refused(str(_npz(tmp_path / "mine.npz", **changes)), None, str(tmp_path / "mine.npz"), message)


def test_an_unreadable_npz_is_refused(tmp_path: Path) -> None:
    whole = _npz(tmp_path / "whole.npz").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        (tmp_path / "bad.npz").write_bytes(content)
        _refused(str(tmp_path / "bad.npz"), None, "is no readable .npz")
    _refused(str(tmp_path), None, "is no readable .npz")
    _refused("cifra10", None, "cifra10 does not exist; data is cifar10, digits or the path of an .npz")


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 PNGs, each with its index in its first pixel; tests put back what they change."""
    folder = tmp_path_factory.mktemp("test_deployment")
    image = np.zeros((32, 32, 3), np.uint8)
    for index in range(10_000):
        image[0, 0] = index >> 8, index & 255, 7
        Image.fromarray(image).save(folder / f"{index}_{_label(index)}.png", compress_level=1)
    return folder


def _label(index: int) -> str:
    return CIFAR10_LABELS[index * 7 % 10]


def test_a_test_deployment_folder_is_read_by_index(deployment: Path) -> None:
    (deployment / ".DS_Store").write_bytes(b"left behind by a Mac")
    digits = load("digits")
    data = with_test(digits, deployment)
    images, labels = data.test
    assert images.shape == (10_000, 32, 32, 3)
    np.testing.assert_array_equal(
        images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 0, 1], np.arange(10_000)
    )
    np.testing.assert_array_equal(labels, np.arange(10_000) * 7 % 10)
    assert data.key == digits.key
    assert str(deployment) in data.source


def test_a_wrong_file_in_test_deployment_is_named(deployment: Path, tmp_path: Path) -> None:
    def refused(*parts: str) -> None:
        with pytest.raises(UsageError) as caught:
            read_test_deployment(deployment)
        assert len(str(caught.value).splitlines()) == 1
        for part in parts:
            assert part in str(caught.value)

    third = deployment / f"3_{_label(3)}.png"
    good = third.read_bytes()
    for name in ("notes.txt", "5_lorry.png", "cat_5.png", "x5_cat.png"):
        (deployment / name).write_bytes(good)
        refused(name, "<index>_<label>.png")
        (deployment / name).unlink()
    (deployment / "3_frog.png").write_bytes(good)
    refused("1 is too many: ")
    (deployment / "3_frog.png").unlink()
    for name in ("10000_frog.png", "10007_cat.png", "007_cat.png"):
        (deployment / name).write_bytes(good)
    third.rename(deployment / "third.png")
    refused(
        "1 is missing: 3_<label>.png; 2 are too many: 10000_frog.png, 10007_cat.png; "
        "2 are misnamed: 007_cat.png, third.png"
    )
    (deployment / "third.png").rename(third)
    for name in ("10000_frog.png", "10007_cat.png", "007_cat.png"):
        (deployment / name).unlink()
    for content in (
        b"",
        b"not a PNG",
        good[:40],
        good[: len(good) // 2],
        good[:50] + b"\0\0\0\0" + good[54:],
    ):
        third.write_bytes(content)
        refused(third.name, "no readable PNG")
    Image.new("L", (32, 32)).save(third)
    refused(third.name, "uint8 (32, 32), wanted uint8 (32, 32, 3)")
    third.write_bytes(good)
    with pytest.raises(UsageError, match="nowhere is no folder"):
        read_test_deployment(tmp_path / "nowhere")
