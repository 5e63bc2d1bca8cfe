"""The test images are used once, when everything has been chosen: no command chooses by them, and none advises to."""

import ast
import re
from collections.abc import Iterator

import numpy as np
import pytest
from paths import ROOT

from compress.datasets.dataset import Dataset
from search.candidate.accuracy import accuracy_of, shortfall_of, stored_accuracy

READERS = {
    "compress/datasets/dataset.py:test_key": "a hash, so that results on other test images are not mixed",
    "compress/training/pretrain.py:pretrain": "pretrain tells what the trained base reaches",
    "search/candidate/import_base.py:import_base": "import tells what the imported base reaches",
    "search/candidate/train.py:test_accuracy_percent": "the figure of those below",
    "search/runner/final_comparison.py:figures": "run tells it of base and best, when the best is chosen",
    "search/runner/grid.py:run_row": "a line of Tables 1 and 2; a grid chooses nothing",
    "search/cli/device_commands.py:measure": "measure tells the accuracy of the models that the user names",
    "search/submission/reproduce.py:reproduce": "replay tells it of a winner that was chosen before",
    "search/submission/reproduce.py:_rebuild": "and of the same winner built again",
    "search/submission/check/submitted_model.py:measure_accuracy": "submit --check compares it with a slide's claim",
}
"""Every function that looks at the labels of test images, and what for."""


def readers() -> Iterator[str]:
    """The functions that read `.test` as a whole or its labels, or ask for the test accuracy."""
    for package in ("compress", "edge", "search"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
                nested = [each for each in ast.walk(function) if isinstance(each, ast.FunctionDef)]
                nested.remove(function)
                hidden = {id(each) for node in nested for each in ast.walk(node)}
                own = [node for node in ast.walk(function) if id(node) not in hidden]
                images_only = {id(node.value) for node in own if _is_images(node)}
                if any(_looks(node) and id(node) not in images_only for node in own):
                    yield f"{path.relative_to(ROOT).as_posix()}:{function.name}"


def _is_images(node: ast.AST) -> bool:
    """`data.test[0]`: images without their labels, on which speed is measured."""
    return isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value == 0


def _looks(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "test_accuracy_percent"
    return isinstance(node, ast.Attribute) and node.attr == "test"


def test_every_reader_of_test_labels_is_known_and_none_of_them_chooses() -> None:
    assert sorted(readers()) == sorted(READERS)


def test_no_message_advises_to_choose_by_test_images() -> None:
    advice = re.compile(r"(another|other|different) (trial|candidate|model|seed)", re.IGNORECASE)
    for package in ("compress", "edge", "search"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    text = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
                    assert not ("test" in text and advice.search(text)), f"{path.name}: {text}"


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


def test_images_in_the_order_of_their_classes_are_parted_evenly(data: Dataset) -> None:
    labels = np.repeat(np.arange(10), 500)
    sorted_by_class = Dataset("sorted", "here", data.train, (np.zeros((5000, 1)), labels), data.test, False, None)  # type: ignore[arg-type]
    assert np.bincount(sorted_by_class.search_part[1]).tolist() == [200] * 10


def test_too_few_images_are_not_parted(data: Dataset) -> None:
    images, labels = data.validation
    few = Dataset("few", "here", data.train, (images[:4], labels[:4]), data.test, flip=False, rule_percent=None)
    assert few.guides.all() and few.decides.all()


def test_each_part_has_its_own_accuracy(data: Dataset) -> None:
    labels = np.where(data.guides, np.arange(10), -1)  # right on the search's images, wrong on all others
    accuracy = accuracy_of(labels, data)
    assert (accuracy.validation_percent, accuracy.search_percent, accuracy.decision_percent) == (40.0, 100.0, 0.0)
    assert shortfall_of(accuracy, rule_percent=70.0, required_percent=72.0) == 72.0
    assert stored_accuracy({"accuracy_percent": 72.2}).decision_percent == 72.2  # of a study of version 0.1
