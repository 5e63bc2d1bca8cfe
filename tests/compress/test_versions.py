"""The hand-kept versions follow the code: whoever changes what trains or converts has to say whether it matters."""

import ast
import sys
from hashlib import sha256
from pathlib import Path

import pytest

import compress
from compress.versions import CONVERSION_VERSION, TRAINING_VERSION

SOURCES = {
    "training": (
        "training/train", "training/train_plan", "training/augmentation", "training/fast_layers", "prune", "network",
    ),
    "conversion": ("conversion/convert", "quantization", "network"),
}
PINNED = {
    "training": (2, "7df9cf4ccc06"),
    "conversion": (2, "fd8bd169685b"),
}
"""The version, and what the code was like when it was counted up, or was seen to do the same as before."""


def digest(names: tuple[str, ...]) -> str:
    """A hash of these modules without their comments, docstrings and layout."""
    found = sha256()
    for name in names:
        tree = ast.parse((Path(compress.__file__).parent / f"{name}.py").read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [each for each in body if not _is_text(each)] or [ast.Pass()]  # type: ignore[attr-defined]
        found.update(ast.unparse(tree).encode())
    return found.hexdigest()[:12]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="each Python writes a tree in its own way")
def test_a_change_of_training_or_conversion_is_weighed() -> None:
    """Failed? If equal specs now come to other weights or bytes, count the version up in compress/versions.py.

    Then write down version and digest here.
    """
    now = {
        "training": (TRAINING_VERSION, digest(SOURCES["training"])),
        "conversion": (CONVERSION_VERSION, digest(SOURCES["conversion"])),
    }
    assert now == PINNED
