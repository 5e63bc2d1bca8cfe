"""Images: where they are found, how they are checked, and how they are split.

`cifar10` is looked for in the folder or file given, then in THRONES_DATA, then in Keras' own cache, and is
downloaded as Keras does it as a last resort. `digits` are the 1,797 handwritten digits that scikit-learn
ships. Any other name is the path of an .npz with x_train, y_train, x_test, y_test.
"""

import io
import os
import pickle
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import NotAtHandError, UsageError, one_line
from compress.io import arrays_key

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Arrays = tuple[Images, Labels]

CIFAR10_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TEST_IMAGES = 10_000
SHOWN_NAMES = 6
"""So many names of files are told, of all that are missing or wrong."""
VALIDATION_SHARE = 10
"""One training image in ten is kept for validation: 5,000 of CIFAR-10's 50,000."""
DIGITS_HELD = 300
"""Digits kept for validation, and as many for the test: a tenth would be too few to judge a 97 % rule by."""
SPLIT_SEED = 2021
SPLIT_CYCLE, SEARCH_IN_CYCLE = 5, 2
"""Of five validation images in a row two guide the search, and three decide: the best of many candidates owes some of
its accuracy to luck on the images by which it was found."""
CALIBRATION = 200
"""So many images tell the ranges of full-integer quantization."""
VARIABLE = "THRONES_DATA"


@dataclass(frozen=True)
class Dataset:
    """Images uint8 (N, 32, 32, 3), 0..255, not normalised; labels int64 (N,), 0..9.

    `train` and `validation` are disjoint parts of the training set; `test` is for the last figure alone and
    is never used to train, to calibrate or to choose. The validation images have two parts: by `search_part` the
    search is guided, by the other is decided what keeps the rule, once a candidate is trained. `flip`: whether a
    mirror image keeps its label (a digit does not). `rule_percent`: the least test accuracy that a candidate must
    keep; None: the data has no such rule.
    """

    name: str
    source: str
    train: Arrays
    validation: Arrays
    test: Arrays
    flip: bool
    rule_percent: float | None

    @cached_property
    def key(self) -> str:
        """A hash of the training and validation images and labels: what a trained model depends on."""
        return arrays_key((*self.train, *self.validation))

    @cached_property
    def test_key(self) -> str:
        """A hash of the test images and labels: what the last figures depend on."""
        return arrays_key(self.test)

    @property
    def guides(self) -> NDArray[np.bool_]:
        """Which validation images belong to the search's part; bool (N,). All of them where there are too few to part.

        Every so many-th, so that images in the order of their classes are parted evenly.
        """
        position = np.arange(len(self.validation[0])) % SPLIT_CYCLE
        return position < SEARCH_IN_CYCLE if len(position) >= SPLIT_CYCLE else np.ones(len(position), bool)

    @property
    def decides(self) -> NDArray[np.bool_]:
        """Which validation images belong to the part that decides; bool (N,)."""
        guides = self.guides
        return guides if guides.all() else ~guides

    @property
    def search_part(self) -> Arrays:
        """The validation images that guide the search: 2,000 of CIFAR-10's 5,000."""
        return self.validation[0][self.guides], self.validation[1][self.guides]

    def calibration(self, count: int | None = None) -> Images:
        """The same `count` training images every time, for the ranges of full-integer quantization.

        None: CALIBRATION, or all where there are fewer.
        """
        images = self.train[0]
        count = min(CALIBRATION, len(images)) if count is None else count
        if not 1 <= count <= len(images):
            raise UsageError(
                f"calibration needs 1 to {len(images)} training images of {self.name}, got {count}; "
                "or choose a quantization without it: float32, float16, dynamic"
            )
        return images[np.random.default_rng(SPLIT_SEED).permutation(len(images))[:count]]


def load(name: str = "cifar10", folder: Path | None = None) -> Dataset:
    """The data set `cifar10`, `digits`, or the .npz at the path `name`; `folder` is what `--data` gave.

    Raises UsageError when it is missing or damaged, NotAtHandError when it cannot be downloaded.
    """
    if name == "cifar10":
        return _cifar10(folder)
    if name == "digits":
        return _digits()
    return _npz(Path(name), name=Path(name).stem, rule_percent=None)


def places(folder: Path | None = None) -> list[tuple[str, Path, bool]]:
    """Where CIFAR-10 is looked for: (what the place is, path, whether something is there), in that order."""
    candidates: list[tuple[str, Path]] = []
    if folder is not None:
        candidates.append(("--data", folder))
    elif os.environ.get(VARIABLE):
        candidates.append((VARIABLE, Path(os.environ[VARIABLE])))
    cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets"
    for inner in ("cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py"):
        candidates.append(("Keras' cache", cache / inner))
    return [(what, path, os.path.exists(path)) for what, path in candidates]


def _cifar10(folder: Path | None) -> Dataset:
    for what, path, there in places(folder):
        if there and path.is_file():
            return _npz(path, name="cifar10", rule_percent=70.0, flip=True)
        if there:
            inside = path / "cifar-10-batches-py"
            return _from_batches(inside if inside.is_dir() else path)
        if what != "Keras' cache":
            raise UsageError(
                f"{what}: {path} does not exist; give a cifar-10-batches-py folder or an .npz with "
                "x_train, y_train, x_test, y_test"
            )
    return _download()


def _download() -> Dataset:
    from compress.tensorflow_setup import keras  # here, because it takes seconds and the other ways do not need it

    try:
        # The arrays and not the files: where they lie changes with Keras' version and with what is writable.
        train, test = keras.datasets.cifar10.load_data()
    except Exception as error:  # Keras raises a bare Exception for every failed download
        raise NotAtHandError(
            f"CIFAR-10 could not be downloaded ({one_line(error)}); put cifar-10-batches-py anywhere and "
            f"name it with --data or {VARIABLE}"
        ) from error
    train, test = _checked("Keras' download", *train), _checked("Keras' download", *test)
    return _split("cifar10", "Keras' download", train, test, flip=True, rule_percent=70.0)


def _from_batches(folder: Path) -> Dataset:
    parts = [_batch(folder / f"data_batch_{n}") for n in range(1, 6)]
    train = np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])
    return _split("cifar10", str(folder), train, _batch(folder / "test_batch"), flip=True, rule_percent=70.0)


_NUMPYS = ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer")


class _PlainUnpickler(pickle._Unpickler):
    """Reads the batches' dicts of arrays and lists; anything else in a pickle could run code.

    The one written in Python: for one damaged byte the other takes all of the machine's memory.
    """

    def find_class(self, module: str, name: str) -> Any:
        numpys = module.split(".")[0] == "numpy" and name in _NUMPYS
        if numpys or (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a CIFAR-10 batch")


def _batch(path: Path) -> Arrays:
    try:
        batch = _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        rows, labels = batch[b"data"], np.asarray(batch[b"labels"])
        images = np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    except FileNotFoundError as error:
        raise UsageError(
            f"{path} is missing; a cifar-10-batches-py folder has data_batch_1..5 and test_batch"
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # damaged pickles raise whatever the bytes happen to say
        raise UsageError(
            f"{path} is truncated or damaged ({one_line(error)}); unpack CIFAR-10 again"
        ) from error
    if len(images) != TEST_IMAGES:
        raise UsageError(
            f"{path} holds {len(images)} images, a CIFAR-10 batch has 10000; unpack CIFAR-10 again"
        )
    return _checked(str(path), images, labels)


def _npz(path: Path, *, name: str, rule_percent: float | None, flip: bool = False) -> Dataset:
    try:
        with np.load(path) as archive:
            arrays = {key: archive[key] for key in ("x_train", "y_train", "x_test", "y_test")}
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist; data is cifar10, digits or the path of an .npz") from error
    except KeyError as error:
        raise UsageError(
            f"{path}: {error.args[0]}; wanted arrays x_train, y_train, x_test, y_test"
        ) from error
    except Exception as error:  # a damaged archive raises zipfile's, zlib's, numpy's or the system's
        raise UsageError(f"{path} is no readable .npz ({one_line(error)}); write it again") from error
    train = _checked(f"{path}: x_train", arrays["x_train"], arrays["y_train"])
    test = _checked(f"{path}: x_test", arrays["x_test"], arrays["y_test"])
    return _split(name, str(path), train, test, flip=flip, rule_percent=rule_percent)


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # 8 x 8 pixels of 0..16, each drawn as 4 x 4 in three equal colours.
    images = np.repeat(np.repeat(digits.images, 4, axis=1), 4, axis=2)[..., None]
    pixels = np.repeat(np.round(images * 255 / 16).astype(np.uint8), 3, axis=3)
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(pixels))
    test, train = order[:DIGITS_HELD], order[DIGITS_HELD:]
    return _split(
        "digits",
        "scikit-learn",
        (pixels[train], labels[train]),
        (pixels[test], labels[test]),
        flip=False,
        rule_percent=97.0,
        validation=DIGITS_HELD,
    )


def read_test_deployment(folder: Path) -> Arrays:
    """The course's `test_deployment` folder: files `<index>_<label>.png`, in the order of their index.

    Raises UsageError that names what is missing, too many or misnamed, and for a damaged file.
    """
    from PIL import Image  # needed for this format alone

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; a test_deployment folder holds <index>_<label>.png files")
    found: dict[int, tuple[Path, int]] = {}
    misnamed, extra = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):  # macOS leaves .DS_Store and ._<name> behind
            continue
        match = re.fullmatch(r"(0|[1-9]\d*)_([a-z]+)\.png", path.name)
        if match is None or match[2] not in CIFAR10_LABELS:
            misnamed.append(path.name)
        elif int(match[1]) >= TEST_IMAGES or int(match[1]) in found:
            extra.append(path.name)
        else:
            found[int(match[1])] = path, CIFAR10_LABELS.index(match[2])
    missing = [f"{index}_<label>.png" for index in range(TEST_IMAGES) if index not in found]
    kinds = {"missing": missing, "too many": extra, "misnamed": misnamed}
    wrong = "; ".join(_listed(names, what) for what, names in kinds.items() if names)
    if wrong:
        raise UsageError(
            f"{folder} is no test_deployment of {TEST_IMAGES:,} images <index>_<label>.png, index 0..{TEST_IMAGES - 1} "
            f"without padding, label one of {', '.join(CIFAR10_LABELS)}: {wrong}"
        )
    images = np.empty((TEST_IMAGES, 32, 32, 3), np.uint8)
    for index, (path, _) in sorted(found.items()):
        try:
            with Image.open(path) as picture:
                image = np.asarray(picture)
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError or its own
            raise UsageError(f"{path} is no readable PNG ({one_line(error)}); copy it again") from error
        if image.shape != (32, 32, 3) or image.dtype != np.uint8:
            raise UsageError(f"{path} is {image.dtype} {image.shape}, wanted uint8 (32, 32, 3)")
        images[index] = image
    return images, np.array([found[index][1] for index in range(TEST_IMAGES)], dtype=np.int64)


def _listed(names: list[str], what: str) -> str:
    """ "12 are missing: 3_<label>.png, ...": the first few."""
    few = ", ".join(names[:SHOWN_NAMES]) + ", ..." * (len(names) > SHOWN_NAMES)
    return f"{len(names)} {'is' if len(names) == 1 else 'are'} {what}: {few}"


def with_test_deployment(data: Dataset, folder: Path) -> Dataset:
    """The same training and validation images with the course's folder as the test set."""
    return replace(data, source=f"{data.source}, test set {folder}", test=read_test_deployment(folder))


def _checked(what: str, images: NDArray[Any], labels: NDArray[Any]) -> Arrays:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (32, 32, 3):
        raise UsageError(f"{what} is {images.dtype} {images.shape}, wanted uint8 (N, 32, 32, 3)")
    labels = labels.reshape(-1)
    if len(labels) != len(images):
        raise UsageError(f"{what} has {len(images)} images and {len(labels)} labels; they must match")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(f"{what} has labels of {labels.dtype}; labels are the integers 0..9")
    wrong = labels[(labels < 0) | (labels > 9)]
    if len(wrong):
        raise UsageError(f"{what} has the label {wrong[0]}; labels are the integers 0..9")
    return images, labels.astype(np.int64)


def _split(
    name: str,
    source: str,
    train: Arrays,
    test: Arrays,
    *,
    flip: bool,
    rule_percent: float | None,
    validation: int | None = None,
) -> Dataset:
    images, labels = train
    count = len(images) // VALIDATION_SHARE if validation is None else validation
    if count < 1 or not len(test[0]):
        raise UsageError(
            f"{source} has {len(images)} training and {len(test[0])} test images; needs at least 10 and 1"
        )
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    held, kept = np.sort(order[:count]), np.sort(order[count:])
    return Dataset(
        name=name,
        source=source,
        train=(images[kept], labels[kept]),
        validation=(images[held], labels[held]),
        test=test,
        flip=flip,
        rule_percent=rule_percent,
    )
