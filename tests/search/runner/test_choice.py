"""The test images are used once, when everything has been chosen: no command chooses by them, and none advises to."""

import ast
import re
from collections.abc import Iterator

from paths import ROOT

READERS = {
    "compress/datasets/dataset.py:test_key": "a hash, so that results on other test images are not mixed",
    "compress/training/pretrain.py:pretrain": "pretrain tells what the trained base reaches",
    "search/candidate/inputs/import_base.py:import_base": "import tells what the imported base reaches",
    "search/candidate/evaluate.py:test_accuracy_percent": "the figure of those below",
    "search/runner/final_comparison.py:compared": "run tells it of base and best, when the best is chosen",
    "search/runner/grid.py:GRID_STEPS": "a line of Tables 1 and 2; a grid chooses nothing",
    "search/cli/device_commands.py:measure": "measure tells the accuracy of the models that the user names",
    "search/submission/reproduce.py:reproduce": "replay tells it of a winner that was chosen before",
    "search/submission/reproduce.py:_rebuild": "and of the same winner built again",
    "search/submission/check/submitted_model.py:measure_accuracy": "submit --check compares it with a slide's claim",
}
"""Every function that looks at the labels of test images, and what for."""


def readers() -> Iterator[str]:
    """Yield the functions and values of modules that read `.test` as a whole or its labels, or the test accuracy."""
    for package in ("compress", "edge", "search"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            imported = {node.name for node in ast.walk(tree) if isinstance(node, ast.alias)}
            is_imported = "test_accuracy_percent" in imported
            for name, nodes in _scopes(tree):
                images_only = {id(node.value) for node in nodes if _is_images(node)}
                if any(_looks(node, is_imported) and id(node) not in images_only for node in nodes):
                    yield f"{path.relative_to(ROOT).as_posix()}:{name}"


def _scopes(tree: ast.Module) -> Iterator[tuple[str, list[ast.AST]]]:
    """Yield the name of each function with the nodes that are its own, and of each value that the module defines."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        nested = [each for each in ast.walk(function) if isinstance(each, ast.FunctionDef)]
        nested.remove(function)
        hidden = {id(each) for node in nested for each in ast.walk(node)}
        yield function.name, [node for node in ast.walk(function) if id(node) not in hidden]
    for statement in tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
            yield ast.unparse(target), list(ast.walk(statement))


def _is_images(node: ast.AST) -> bool:
    """`data.test[0]`: images without their labels, on which speed is measured."""
    return isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value == 0


def _looks(node: ast.AST, is_imported: bool) -> bool:
    if isinstance(node, ast.Name):
        return is_imported and node.id == "test_accuracy_percent"
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
