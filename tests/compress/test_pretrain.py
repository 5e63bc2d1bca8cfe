"""Training the base: resumed after a kill, tied to its data, plan and seed, and described beside the weights."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import architecture, random_images

from compress.datasets.dataset import Dataset
from compress.errors import UsageError
from compress.network import build, load_weights
from compress.training import pretrain as module
from compress.training.pretrain import CIFAR10_CYCLES, pretrain
from compress.training.train import Epoch, accuracy
from compress.training.train_plan import TrainPlan

SHAPE = architecture(3, 4, stem_stride=4)
CYCLES = (
    TrainPlan(epochs=2, learning_rate=0.02, batch_size=16),
    TrainPlan(epochs=2, learning_rate=0.01, batch_size=16),
)


@pytest.fixture(autouse=True)
def small_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BASE", SHAPE)


@pytest.fixture
def data() -> Dataset:
    images, labels = random_images(64), np.arange(64) % 10
    parts = [(images[a:b], labels[a:b]) for a, b in ((0, 40), (40, 52), (52, 64))]
    return Dataset("noise", "here", parts[0], parts[1], parts[2], flip=False, rule_percent=0.0)


class _Killed(Exception):
    pass


def _kill_after(number: int) -> Any:
    def stop(epoch: Epoch) -> None:
        if epoch.number == number:
            raise _Killed

    return stop


@pytest.mark.slow
@pytest.mark.parametrize("last", [1, 2, 3], ids=["first cycle", "between the cycles", "second cycle"])
def test_a_killed_run_goes_on_where_it_stopped(data: Dataset, tmp_path: Path, last: int) -> None:
    whole = pretrain(data, tmp_path / "whole.npz", CYCLES)
    with pytest.raises(_Killed):
        pretrain(data, tmp_path / "cut.npz", CYCLES, on_epoch=_kill_after(last))
    assert not (tmp_path / "cut.npz").exists()
    trained: list[int] = []
    resumed = pretrain(data, tmp_path / "cut.npz", CYCLES, on_epoch=lambda epoch: trained.append(epoch.number))
    assert trained == [1, 2, 3, 4][last:]
    assert [epoch.number for epoch in resumed.history] == [1, 2, 3, 4]
    assert [e.loss for e in resumed.history] == pytest.approx([e.loss for e in whole.history], rel=1e-3)
    for one, other in zip(
        load_weights(tmp_path / "cut.npz"), load_weights(tmp_path / "whole.npz"), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cut.json",
        "cut.npz",
        "whole.json",
        "whole.npz",
    ]


@pytest.mark.slow
def test_the_base_never_sees_the_images_by_which_candidates_are_chosen(data: Dataset, tmp_path: Path) -> None:
    """CIFAR-10's own cycles, shortened: the weights are the same whatever the validation and test images are."""
    shortened = tuple(replace(cycle, epochs=1, small_crop_epochs=0, batch_size=16) for cycle in CIFAR10_CYCLES)
    other = replace(data, validation=(data.validation[0][::-1], data.validation[1]), test=data.train)
    for name, images in (("one", data), ("other", other)):
        pretrain(images, tmp_path / name, shortened)
    for one, same in zip(load_weights(tmp_path / "one"), load_weights(tmp_path / "other"), strict=True):
        np.testing.assert_array_equal(one, same)


@pytest.mark.slow
def test_a_training_goes_from_smaller_crops_to_whole_images(data: Dataset, tmp_path: Path) -> None:
    """As CIFAR-10's own cycle does after two thirds of its hours; with even and with odd numbers of channels."""
    crops = (TrainPlan(epochs=2, learning_rate=0.02, batch_size=16, small_crop_epochs=1),)
    held: list[int] = []

    @contextmanager
    def guard() -> Iterator[None]:
        held.append(1)
        yield

    shapes = {"odd": architecture(3, 4, 5, 6, 7, stem_stride=4), "even": architecture(8, 16, 8, 16, 8, stem_stride=4)}
    for name, shape in shapes.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "BASE", shape)
            result = pretrain(data, tmp_path / name, crops, step_guard=guard)
        assert [epoch.number for epoch in result.history] == [1, 2]
    assert len(held) >= 2 * 2 * 2  # two networks, two epochs, two steps


@pytest.mark.slow
def test_a_checkpoint_of_something_else_or_a_damaged_one_is_refused(data: Dataset, tmp_path: Path) -> None:
    out, checkpoint = tmp_path / "base.npz", tmp_path / "base.checkpoint.npz"
    with pytest.raises(_Killed):
        pretrain(data, out, CYCLES, seed=1, on_epoch=_kill_after(1))
    with pytest.raises(UsageError, match="belongs to another data set, seed or cycles; remove it"):
        pretrain(data, out, CYCLES, seed=2)
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    with pytest.raises(UsageError, match="base.checkpoint.npz is damaged .*; remove it"):
        pretrain(data, out, CYCLES, seed=1)


@pytest.mark.slow
def test_the_json_tells_how_the_saved_weights_came_about(data: Dataset, tmp_path: Path) -> None:
    cycle = TrainPlan(epochs=1, learning_rate=0.02, batch_size=16)
    result = pretrain(data, tmp_path / "new" / "base", (cycle,), seed=5)  # a folder to make, a name without .npz
    record = json.loads((tmp_path / "new" / "base.json").read_text())
    assert (record["data"], record["data_key"], record["seed"]) == ("noise", data.key, 5)
    assert record["cycles"][0]["learning_rate"] == 0.02
    assert record["history"] == [
        {"number": 1, "loss": result.history[0].loss, "accuracy": result.history[0].accuracy}
    ]
    network = build(SHAPE)
    network.set_weights(load_weights(tmp_path / "new" / "base"))
    assert record["test_accuracy"] == accuracy(network, *data.test)
    assert record["validation_accuracy"] == accuracy(network, *data.validation)


@pytest.mark.slow
@pytest.mark.parametrize("cut", ["base", "base.json"])
def test_a_kill_while_the_weights_are_written_leaves_no_half_of_them(
    cut: str, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cycle, replace_file = TrainPlan(epochs=1, learning_rate=0.02, batch_size=16), os.replace

    def replaced(source: Path, target: Path) -> None:
        if target.name == cut:
            raise _Killed
        replace_file(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replaced)
        with pytest.raises(_Killed):
            pretrain(data, tmp_path / "base", (cycle,))
    assert (tmp_path / "base").exists() == (cut == "base.json") and not (tmp_path / "base.json").exists()
    trained: list[Epoch] = []
    pretrain(data, tmp_path / "base", (cycle,), on_epoch=trained.append)
    assert trained == [] and load_weights(tmp_path / "base") and (tmp_path / "base.json").exists()


def test_a_place_that_cannot_be_written_is_told_before_training(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trained: list[Epoch] = []
    with pytest.raises(UsageError, match="choose another place with --out"):
        pretrain(data, tmp_path / "file" / "base.npz", CYCLES, on_epoch=trained.append)
    assert not trained
