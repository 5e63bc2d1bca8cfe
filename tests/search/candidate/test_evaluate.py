"""The accuracy of a model's labels on the parts of the validation images: one guides the search, one decides."""

import numpy as np
import pytest

from compress.datasets.dataset import Dataset
from search.candidate.evaluate import accuracy_of
from search.evaluation import Accuracy


@pytest.fixture
def data() -> Dataset:
    """Ten validation images, of which the search has the first two of every five."""
    images, labels = np.zeros((10, 32, 32, 3), np.uint8), np.arange(10)
    none = images[:1], labels[:1]
    return Dataset("ten", "here", none, (images, labels), none, flip=False, rule_percent=None)


def test_the_search_and_the_decision_see_different_images(data: Dataset) -> None:
    assert np.flatnonzero(data.guides).tolist() == [0, 1, 5, 6]
    assert not np.any(data.guides & data.decides) and np.all(data.guides | data.decides)
    np.testing.assert_array_equal(data.search_part[1], [0, 1, 5, 6])


def test_images_in_the_order_of_their_classes_are_split_evenly(data: Dataset) -> None:
    labels = np.repeat(np.arange(10), 500)
    sorted_by_class = Dataset("sorted", "here", data.train, (np.zeros((5000, 1)), labels), data.test, False, None)  # type: ignore[arg-type]
    assert np.bincount(sorted_by_class.search_part[1]).tolist() == [200] * 10


def test_too_few_images_are_not_split(data: Dataset) -> None:
    images, labels = data.validation
    few = Dataset("few", "here", data.train, (images[:4], labels[:4]), data.test, flip=False, rule_percent=None)
    assert few.guides.all() and few.decides.all()


def test_each_part_has_its_own_accuracy(data: Dataset) -> None:
    labels = np.where(data.guides, np.arange(10), -1)  # right on the search's images, wrong on all others
    accuracy = accuracy_of(labels, data)
    assert (accuracy.validation_percent, accuracy.search_percent, accuracy.decision_percent) == (40.0, 100.0, 0.0)
    assert accuracy.violation(constraint_percent=70.0, required_percent=72.0) == 72.0


@pytest.mark.parametrize(
    ("search_percent", "decision_percent", "violation"),
    [
        (80.0, 75.0, -3.0),
        (70.5, 75.0, -0.5),  # on the search's images the bare constraint is enough
        (80.0, 71.0, 1.0),  # on those that decide the margin is needed as well
        (69.0, 75.0, 1.0),
        (70.0, 72.0, 0.0),
    ],
)
def test_the_violation_is_the_worse_of_both_parts(
    search_percent: float, decision_percent: float, violation: float
) -> None:
    accuracy = Accuracy(75.0, search_percent, decision_percent)
    assert accuracy.violation(constraint_percent=70.0, required_percent=72.0) == violation
