"""What `compress` may import: no device and no search, and TensorFlow only where networks are."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

import compress

BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED and name not in ALLOWED:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
"""


def _import(modules: list[str], blocked: list[str]) -> None:
    """Import the modules in a new process; `edge.errors`, which has everybody's errors, is never blocked."""
    imports = "\n".join(f"import {module}" for module in modules)
    code = f"BLOCKED, ALLOWED = {blocked}, ['edge', 'edge.errors']\n{BLOCK}\n{imports}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_specs_architectures_and_data_need_no_tensorflow() -> None:
    light = ["spec", "architecture", "quantization", "conversion.operators", "io", "errors"]
    light += ["datasets.load", "datasets.course_test_set"]
    _import([f"compress.{name}" for name in light], ["tensorflow", "tf_keras", "keras"])


@pytest.mark.slow
def test_compress_knows_neither_search_nor_devices() -> None:
    folder = Path(compress.__path__[0])
    paths = [path.relative_to(folder).with_suffix("") for path in folder.rglob("[a-z]*.py")]
    modules = sorted(".".join(("compress", *path.parts)) for path in paths)
    assert "compress.training.train" in modules
    _import(
        ["compress", *modules], ["optuna", "rpyc", "search", "edge", "ai_edge_litert", "psutil", "serial"]
    )
