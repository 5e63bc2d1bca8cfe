"""One record for every data set: its checked images, and how they are split."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import UsageError
from compress.io import arrays_key

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Arrays = tuple[Images, Labels]

VALIDATION_SHARE = 10
"""One training image in ten is kept for validation: 5,000 of CIFAR-10's 50,000."""
SPLIT_SEED = 2021
SPLIT_CYCLE, SEARCH_IN_CYCLE = 5, 2
"""Of five validation images in a row two guide the search and three decide. The best of many candidates owes
some of its accuracy to luck on the images by which it was found."""
CALIBRATION_IMAGES = 200
"""Images that determine the ranges of full-integer quantization."""


@dataclass(frozen=True)
class Dataset:
    """Images uint8 (N, 32, 32, 3), 0..255, not normalised; labels int64 (N,), 0..9.

    Args:
        name: "cifar10", "digits" or the name of an .npz.
        source: where the images were found.
        train: the images to train and to calibrate with.
        validation: a part of the training set that is in no way trained on. `search_part` guides the search;
            the other part decides whether a trained candidate meets the accuracy constraint.
        test: the images of the final figures; never used to train, to calibrate or to choose.
        flip: True where a mirror image keeps its label; a digit does not.
        rule_percent: the least test accuracy of a candidate; None: the data has no such constraint.
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
        """A hash of the training and validation images and labels, on which a trained model depends."""
        return arrays_key((*self.train, *self.validation))

    @cached_property
    def test_key(self) -> str:
        """A hash of the test images and labels, on which the final figures depend."""
        return arrays_key(self.test)

    @property
    def guides(self) -> NDArray[np.bool_]:
        """The mask of the validation images in the search's part; bool (N,).

        Positions alternate, so that images in the order of their classes are split evenly. Too few images to
        split are all True.
        """
        count = len(self.validation[0])
        if count < SPLIT_CYCLE:
            return np.ones(count, bool)
        return np.arange(count) % SPLIT_CYCLE < SEARCH_IN_CYCLE

    @property
    def decides(self) -> NDArray[np.bool_]:
        """The mask of the validation images in the part that decides; bool (N,)."""
        guides = self.guides
        return guides if guides.all() else ~guides

    @property
    def search_part(self) -> Arrays:
        """The validation images that guide the search: 2,000 of CIFAR-10's 5,000."""
        images, labels = self.validation
        return images[self.guides], labels[self.guides]

    def calibration(self, count: int | None = None) -> Images:
        """Return the same `count` training images every time, for the ranges of full-integer quantization.

        None: CALIBRATION_IMAGES, or all where there are fewer. Raises UsageError for a count out of range.
        """
        images = self.train[0]
        if count is None:
            count = min(CALIBRATION_IMAGES, len(images))
        if not 1 <= count <= len(images):
            raise UsageError(
                f"calibration needs 1 to {len(images)} training images of {self.name}, got {count}",
                remedy="or choose a quantization without it: float32, float16, dynamic",
            )
        order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
        return images[order[:count]]


def split(
    name: str,
    source: str,
    train: Arrays,
    test: Arrays,
    *,
    flip: bool,
    rule_percent: float | None,
    validation_count: int | None = None,
) -> Dataset:
    """Return a data set with a part of `train` kept for validation.

    Args:
        name, source, test, flip, rule_percent: as in `Dataset`.
        train: images and labels of the whole training set.
        validation_count: how many of them are kept; None: one in VALIDATION_SHARE.

    Raises:
        UsageError: there are too few images.
    """
    images, labels = train
    if validation_count is None:
        validation_count = len(images) // VALIDATION_SHARE
    if validation_count < 1 or not len(test[0]):
        raise UsageError(
            f"{source} has {len(images)} training and {len(test[0])} test images; needs at least 10 and 1"
        )
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    held = np.sort(order[:validation_count])
    kept = np.sort(order[validation_count:])
    return Dataset(
        name=name,
        source=source,
        train=(images[kept], labels[kept]),
        validation=(images[held], labels[held]),
        test=test,
        flip=flip,
        rule_percent=rule_percent,
    )


def checked_arrays(what: str, images: NDArray[Any], labels: NDArray[Any]) -> Arrays:
    """Return images and labels as a `Dataset` has them. Raises UsageError, naming `what`, for any others."""
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
