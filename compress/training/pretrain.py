"""Train the unpruned base. A checkpoint after each epoch lets a killed run continue."""

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.architecture import BASE
from compress.datasets.dataset import Dataset
from compress.errors import UsageError, one_line
from compress.io import atomic_write
from compress.network import build, load_weights, save_weights
from compress.tensorflow_setup import keras
from compress.training.train import Epoch, Guard, Trainer, accuracy, train
from compress.training.train_plan import TrainPlan

CIFAR10_CYCLES: tuple[TrainPlan, ...] = (
    TrainPlan(epochs=44, learning_rate=0.1, small_crop_epochs=29, warmup_epochs=1.0),
)
DIGITS_CYCLES: tuple[TrainPlan, ...] = (TrainPlan(epochs=6, learning_rate=0.05, batch_size=32),)


MAX_IMAGES_OF_SMALL_DATA = 10_000
"""Below this number of training images the cycles of the digits are used."""


def cycles_for(data: Dataset) -> tuple[TrainPlan, ...]:
    """Return the cosine cycles that suit the data: few images need small batches and few epochs.

    None of them trains on the validation images: candidates that begin with the base's weights are chosen by
    those.
    """
    if len(data.train[0]) < MAX_IMAGES_OF_SMALL_DATA:
        return DIGITS_CYCLES
    return CIFAR10_CYCLES


@dataclass(frozen=True)
class Pretrained:
    """The record beside the weights: how they were trained, and their accuracies in percent."""

    command: str
    data: str
    data_key: str
    seed: int
    cycles: tuple[TrainPlan, ...]
    history: list[Epoch]
    validation_accuracy: float
    test_accuracy: float
    seconds: float

    def to_json(self) -> str:
        """Return the text of the .json file."""
        values = {**asdict(self), "cycles": [cycle.to_dict() for cycle in self.cycles]}
        return json.dumps(values, indent=1) + "\n"


class CheckpointError(UsageError):
    """A checkpoint cannot be resumed from."""


@dataclass(frozen=True)
class _Progress:
    """The content of a checkpoint: the epochs so far, and the state of network and optimizer after them."""

    history: list[Epoch]
    seconds: float
    state: list[NDArray[Any]]


def checkpoint_of(out: Path) -> Path:
    """Return the path of the checkpoint that `pretrain` keeps beside `out`."""
    return out.with_suffix(".checkpoint.npz")


def pretrain(
    data: Dataset,
    out: Path,
    cycles: tuple[TrainPlan, ...],
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    step_guard: Guard = nullcontext,
) -> Pretrained:
    """Train the base, cycle after cycle, and resume from a checkpoint of the same data, cycles and seed.

    The checkpoint is removed at the end. The accuracies are those of the saved weights, which are float16.

    Args:
        data: the images.
        out: the .npz to write; a .json beside it gets history and accuracies.
        cycles: the plans, in their order.
        seed: of the initial weights, the order of the images and their augmentation.
        on_epoch: called after each epoch.
        step_guard: entered around each training step.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to something else.
        UsageError: `out` cannot be written.
    """
    keras.utils.set_random_seed(seed)
    network = build(BASE)
    checkpoint = checkpoint_of(out)
    identity = json.dumps([data.key, seed, [cycle.to_dict() for cycle in cycles]])
    resumed = _Progress(history=[], seconds=0.0, state=[])
    if checkpoint.exists():
        resumed = _read_checkpoint(checkpoint, identity)
    history = resumed.history
    started = time.monotonic() - resumed.seconds

    def run(cycle: TrainPlan, epochs_before: int) -> None:
        trainer = Trainer(
            network,
            cycle,
            *data.train,
            seed=seed,
            flip=data.flip,
            first_epoch=epochs_before,
            step_guard=step_guard,
        )
        if len(history) > epochs_before:
            trainer.restore(resumed.state)

        def save(epoch: Epoch) -> None:
            history.append(replace(epoch, number=len(history) + 1))
            progress = _Progress(history, time.monotonic() - started, trainer.state())
            _write_checkpoint(checkpoint, identity, progress)
            on_epoch(history[-1])

        train(trainer, data.validation, save, first=len(history) - epochs_before)
        trainer.finish()

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        epochs_before = 0
        for cycle in cycles:
            if len(history) <= epochs_before + cycle.epochs:  # else the checkpoint is of a later cycle
                run(cycle, epochs_before)
            epochs_before += cycle.epochs
        save_weights(out, network.get_weights())
        network.set_weights(load_weights(out))
        result = Pretrained(
            command=f"thrones pretrain {data.name} --seed {seed}",
            data=data.name,
            data_key=data.key,
            seed=seed,
            cycles=cycles,
            history=history,
            validation_accuracy=accuracy(network, *data.validation),
            test_accuracy=accuracy(network, *data.test),
            seconds=round(time.monotonic() - started, 1),
        )
        atomic_write(out.with_suffix(".json"), result.to_json().encode())
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}", remedy="choose another place with --out") from error
    checkpoint.unlink(missing_ok=True)
    return result


def _write_checkpoint(path: Path, identity: str, progress: _Progress) -> None:
    about = {
        "identity": identity,
        "history": [asdict(epoch) for epoch in progress.history],
        "seconds": progress.seconds,
    }
    archive = BytesIO()
    np.savez(archive, np.array(json.dumps(about)), *progress.state)
    atomic_write(path, archive.getvalue())


def _read_checkpoint(path: Path, identity: str) -> _Progress:
    try:
        with np.load(path) as archive:
            about = json.loads(str(archive["arr_0"]))
            state = [archive[f"arr_{number}"] for number in range(1, len(archive.files))]
    except Exception as error:  # a damaged archive raises zipfile's, zlib's, numpy's or the system's
        raise CheckpointError(
            f"{path} is damaged ({one_line(error)})", remedy="remove it to start anew"
        ) from error
    if about["identity"] != identity:
        raise CheckpointError(
            f"{path} belongs to another data set, seed or cycles", remedy="remove it or choose another --out"
        )
    history = [Epoch(**epoch) for epoch in about["history"]]
    return _Progress(history, about["seconds"], state)
