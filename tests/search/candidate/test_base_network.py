"""The bundled base is what its JSON says, and good enough to teach; checked on CIFAR-10 where THRONES_DATA has it.

The base for other images is trained once, by one of the studies that need it.
"""

import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from compress.architecture import BASE
from compress.datasets.dataset import Dataset
from compress.datasets.load import load
from compress.network import BUNDLED_BASE, build, load_weights, save_weights
from compress.training.pretrain import CheckpointError, checkpoint_of
from compress.training.train import accuracy
from search.candidate.inputs import base_network as module
from search.candidate.inputs.base_network import base_weights
from search.progress import Progress
from search.storage.cache import Cache

WEIGHTS = BUNDLED_BASE
ABOUT = json.loads(WEIGHTS.with_suffix(".json").read_text())


def test_the_bundled_base_is_small_and_tells_how_it_was_made() -> None:
    assert WEIGHTS.stat().st_size <= 7_000_000
    assert ABOUT["command"].startswith("thrones pretrain")
    assert len(ABOUT["history"]) == sum(cycle["epochs"] for cycle in ABOUT["cycles"])
    assert ABOUT["test_accuracy"] >= 90.0


def test_the_bundled_base_has_not_seen_the_validation_images() -> None:
    """A base that has is 4 points better on them than on test images, and so is what is cut out of it."""
    assert not any(cycle.get("all_images") for cycle in ABOUT["cycles"])
    sigma = 100 * (0.9 * 0.1 * (1 / 5_000 + 1 / 10_000)) ** 0.5
    assert ABOUT["validation_accuracy"] - ABOUT["test_accuracy"] < 3 * sigma


@pytest.mark.slow
@pytest.mark.skipif("THRONES_DATA" not in os.environ, reason="needs CIFAR-10: name it in THRONES_DATA")
def test_the_bundled_base_reaches_what_it_says_on_all_test_images() -> None:
    network = build(BASE)
    network.set_weights(load_weights(WEIGHTS))
    data = load("cifar10")
    assert data.key == ABOUT["data_key"]
    assert accuracy(network, *data.test) == pytest.approx(ABOUT["test_accuracy"], abs=0.05)


@pytest.fixture
def data() -> Dataset:
    images, labels = np.zeros((20, 32, 32, 3), np.uint8), np.arange(20, dtype=np.int64) % 10
    return Dataset("own", "here", (images, labels), (images, labels), (images, labels), flip=False, rule_percent=None)


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def begin(data: Dataset, tmp_path: Path, shown: io.StringIO) -> Callable[[], object]:
    """Return what a study does at its start."""
    return lambda: base_weights(data, Cache(tmp_path), Progress(Console(file=shown, width=400), 1))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return where a base was trained; the training itself is left out."""
    places: list[Path] = []

    def pretrain(data: Dataset, out: Path, *_: object, **__: object) -> None:
        places.append(out)
        save_weights(out, load_weights(WEIGHTS))

    monkeypatch.setattr(module, "pretrain", pretrain)
    return places


@pytest.mark.parametrize("damage", ["empty", "cut", "another network's"])
def test_a_damaged_base_in_the_cache_is_trained_anew(
    damage: str, begin: Callable[[], object], trained: list[Path], shown: io.StringIO
) -> None:
    begin()
    begin()
    assert len(trained) == 1
    whole = trained[0].read_bytes()
    if damage == "another network's":
        save_weights(trained[0], [np.ones((3, 3), np.float32)])
    else:
        trained[0].write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    begin()
    assert len(trained) == 2 and trained[0].read_bytes() == whole
    assert shown.getvalue().count(f"{trained[0]} is damaged, so the base is trained anew") == 1


def test_of_two_studies_that_begin_together_one_trains_the_base_and_the_other_takes_it(
    begin: Callable[[], object], trained: list[Path], shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, at_work, go_on = module.pretrain, threading.Event(), threading.Event()

    def slowly(*arguments: object, **named: object) -> None:
        at_work.set()
        assert go_on.wait(60)
        train(*arguments, **named)  # type: ignore[arg-type]  # the arguments of the fixture's

    monkeypatch.setattr(module, "pretrain", slowly)
    first, second = threading.Thread(target=begin), threading.Thread(target=begin)
    first.start()
    assert at_work.wait(60)
    second.start()
    while "another study trains the base for these images; waiting for it" not in shown.getvalue():
        assert second.is_alive()
        second.join(0.05)
    go_on.set()
    first.join()
    second.join()
    assert len(trained) == 1


def test_a_checkpoint_in_the_cache_that_cannot_be_continued_is_left(
    begin: Callable[[], object], trained: list[Path], shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = module.pretrain

    def refusing(data: Dataset, out: Path, *rest: object, **named: object) -> None:
        if checkpoint_of(out).exists():
            raise CheckpointError("it belongs to other cycles")
        train(data, out, *rest, **named)  # type: ignore[arg-type]  # the arguments of the fixture's

    begin()
    trained[0].unlink()
    checkpoint_of(trained[0]).write_bytes(b"old")
    monkeypatch.setattr(module, "pretrain", refusing)
    begin()
    assert len(trained) == 2
    assert "cannot be continued, so the base is trained from the start" in shown.getvalue()
