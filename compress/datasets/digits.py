"""The 1,797 handwritten digits that scikit-learn ships, as images of CIFAR-10's size."""

import numpy as np

from compress.datasets.dataset import SPLIT_SEED, Dataset, split

HELD_IMAGES = 300
"""Digits kept for validation, and as many for the test: a tenth is too few to judge 97 % by."""
RULE_PERCENT = 97.0


def load_digits() -> Dataset:
    """Return the digits: 1,197 to train, 300 for validation, 300 for the test."""
    from sklearn import datasets

    digits = datasets.load_digits()
    # 8 x 8 pixels of 0..16, each drawn as 4 x 4 in three equal colours.
    grey = np.repeat(np.repeat(digits.images, 4, axis=1), 4, axis=2)[..., None]
    images = np.repeat(np.round(grey * 255 / 16).astype(np.uint8), 3, axis=3)
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    test = order[:HELD_IMAGES]
    train = order[HELD_IMAGES:]
    return split(
        "digits",
        "scikit-learn",
        (images[train], labels[train]),
        (images[test], labels[test]),
        flip=False,
        rule_percent=RULE_PERCENT,
        validation_count=HELD_IMAGES,
    )
