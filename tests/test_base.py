"""The bundled base is what its JSON says, and good enough to teach; checked on CIFAR-10 where THRONES_DATA has it."""

import json
import os
from importlib import resources
from pathlib import Path

import pytest

from compress.architecture import BASE
from compress.data import load
from compress.network import build, load_weights
from compress.train import accuracy
from search.base import BUNDLED

WEIGHTS = Path(str(resources.files("compress"))) / "weights" / BUNDLED
ABOUT = json.loads(WEIGHTS.with_suffix(".json").read_text())


def test_the_bundled_base_is_small_and_tells_how_it_was_made() -> None:
    assert WEIGHTS.stat().st_size <= 7_000_000
    assert ABOUT["command"].startswith("thrones pretrain")
    assert len(ABOUT["history"]) == sum(cycle["epochs"] for cycle in ABOUT["cycles"])
    assert ABOUT["test_accuracy"] >= 90.0


@pytest.mark.skipif("THRONES_DATA" not in os.environ, reason="needs CIFAR-10: name it in THRONES_DATA")
def test_the_bundled_base_reaches_what_it_says_on_all_test_images() -> None:
    network = build(BASE)
    network.set_weights(load_weights(WEIGHTS))
    data = load("cifar10")
    assert data.key == ABOUT["data_key"]
    assert accuracy(network, *data.test) == pytest.approx(ABOUT["test_accuracy"], abs=0.05)
