"""Train the unpruned base; a checkpoint after each epoch, so that a killed run goes on where it stopped."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
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
from compress.training.train import Epoch, Trainer, TrainPlan, accuracy, train

CIFAR10_CYCLES: tuple[TrainPlan, ...] = (
    TrainPlan(epochs=44, learning_rate=0.1, small_crop_epochs=29, warmup_epochs=1.0),
)
DIGITS_CYCLES: tuple[TrainPlan, ...] = (TrainPlan(epochs=6, learning_rate=0.05, batch_size=32),)


def cycles_for(data: Dataset) -> tuple[TrainPlan, ...]:
    """The cosine cycles that suit the data: few images need small batches and are soon learnt.

    None of them sees the validation images: candidates that begin with the base's weights are chosen by those.
    """
    return DIGITS_CYCLES if len(data.train[0]) < 10_000 else CIFAR10_CYCLES


@dataclass(frozen=True)
class Pretrained:
    """What stands beside the weights: how they came about and what they reach."""

    command: str
    data: str
    data_key: str
    seed: int
    cycles: tuple[TrainPlan, ...]
    history: list[Epoch]
    validation_accuracy: float
    test_accuracy: float
    seconds: float


class CheckpointError(UsageError):
    """Nothing can be gone on with."""


def checkpoint_of(out: Path) -> Path:
    """Where `pretrain` keeps what it needs to go on."""
    return out.with_suffix(".checkpoint.npz")


def pretrain(
    data: Dataset,
    out: Path,
    cycles: tuple[TrainPlan, ...],
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    step_guard: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Pretrained:
    """Train the base, cycle after cycle; write `out` (.npz) and, with .json, history and accuracy.

    The accuracies are those of the saved weights, float16 as they are. Resumes from `out` with
    .checkpoint.npz when that belongs to the same data, cycles and seed, and removes it at the end. `step_guard` is
    entered around each training step, to hold it.

    Raises CheckpointError when the checkpoint is damaged or belongs to something else, UsageError when `out` cannot be
    written.
    """
    keras.utils.set_random_seed(seed)
    network = build(BASE)
    checkpoint = checkpoint_of(out)
    identity = json.dumps([data.key, seed, [cycle.to_dict() for cycle in cycles]])
    history, seconds, state = _resume(checkpoint, identity) if checkpoint.exists() else ([], 0.0, [])
    started = time.monotonic() - seconds

    def run(cycle: TrainPlan, before: int) -> None:
        trainer = Trainer(
            network, cycle, *data.train, seed=seed, flip=data.flip, first_epoch=before, step_guard=step_guard
        )
        if len(history) > before:
            trainer.restore(state)

        def save(epoch: Epoch) -> None:
            history.append(replace(epoch, number=len(history) + 1))
            _write_checkpoint(checkpoint, identity, history, time.monotonic() - started, trainer)
            on_epoch(history[-1])

        train(trainer, data.validation, save, first=len(history) - before)
        trainer.finish()

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        before = 0
        for cycle in cycles:
            if len(history) <= before + cycle.epochs:  # else the checkpoint is of a later cycle
                run(cycle, before)
            before += cycle.epochs
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
        record = {**asdict(result), "cycles": [cycle.to_dict() for cycle in cycles]}
        atomic_write(out.with_suffix(".json"), (json.dumps(record, indent=1) + "\n").encode())
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}; choose another place with --out") from error
    checkpoint.unlink(missing_ok=True)
    return result


def _write_checkpoint(
    path: Path, identity: str, history: list[Epoch], seconds: float, trainer: Trainer
) -> None:
    about = json.dumps(
        {"identity": identity, "history": [asdict(epoch) for epoch in history], "seconds": seconds}
    )
    archive = BytesIO()
    np.savez(archive, np.array(about), *trainer.state())
    atomic_write(path, archive.getvalue())


def _resume(path: Path, identity: str) -> tuple[list[Epoch], float, list[NDArray[Any]]]:
    try:
        with np.load(path) as archive:
            about = json.loads(str(archive["arr_0"]))
            state = [archive[f"arr_{n}"] for n in range(1, len(archive.files))]
    except Exception as error:  # a damaged archive raises zipfile's, zlib's, numpy's or the system's
        raise CheckpointError(f"{path} is damaged ({one_line(error)}); remove it to start anew") from error
    if about["identity"] != identity:
        raise CheckpointError(
            f"{path} belongs to another data set, seed or cycles; remove it or choose another --out"
        )
    return [Epoch(**epoch) for epoch in about["history"]], about["seconds"], state
