"""What a model is right on: the validation images in their two parts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.datasets.dataset import Dataset


@dataclass(frozen=True)
class Accuracy:
    """In percent. `search_percent` guides the search, `decision_percent` decides whether the rule is kept.

    Two parts of the validation images, since the best of many candidates owes some of its accuracy to luck on the
    images by which it was found. `validation_percent`: on both together, to be shown.
    """

    validation_percent: float
    search_percent: float
    decision_percent: float


def shortfall_of(accuracy: Accuracy, rule_percent: float, required_percent: float) -> float:
    """The points that a model lacks of keeping the rule; 0 or less: it keeps it.

    It must reach `required_percent`, the rule and its margin, on the images that decide. What misses the bare rule on
    the search's own images is not held against the others at all: each more that is tried is one more chance of luck.
    """
    return max(required_percent - accuracy.decision_percent, rule_percent - accuracy.search_percent)


def accuracy_of(labels: NDArray[np.int64], data: Dataset) -> Accuracy:
    """What these labels, int64 (N,), of all validation images come to."""
    right = labels == data.validation[1]
    return Accuracy(*(float(np.mean(right[part]) * 100) for part in (slice(None), data.guides, data.decides)))


def stored_accuracy(about: dict[str, Any]) -> Accuracy:
    """The accuracy in a trial's attribute `candidate`; before version 0.2 one number served for all."""
    percent = float(about["accuracy_percent"])
    return Accuracy(percent, about.get("search_percent", percent), about.get("decision_percent", percent))
