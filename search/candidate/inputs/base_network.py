"""The base network of a study: bundled for CIFAR-10, trained once and kept for any other data."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.datasets.dataset import Dataset
from compress.errors import UsageError
from compress.importing.tensors import check_weights
from compress.network import BUNDLED_BASE, Weights, load_weights
from compress.training.pretrain import CheckpointError, checkpoint_of, cycles_for, pretrain
from compress.training.train import Epoch
from compress.versions import TRAINING_VERSION
from edge.measuring.training_lock import TrainingPlace
from search.progress import Progress
from search.storage.cache import Cache


def base_weights(data: Dataset, cache: Cache, progress: Progress, own: str | None = None) -> Weights:
    """Return the unpruned network's weights for `data`: shipped with thrones, from the cache, or trained now.

    Args:
        data: The images.
        cache: Where trained bases are kept.
        progress: Who shows what is done.
        own: The path of an .npz with weights to take instead.

    Raises:
        UsageError: These are not the weights of the 85 layers.
    """
    if own is not None:
        return _own_weights(Path(own))
    if data.name == "cifar10":
        return bundled_weights()
    path = base_path(cache, data)
    stored = _stored_weights(path)
    if stored is not None:
        return stored
    with _lock(path, progress):
        stored = _stored_weights(path)  # another study may have trained it meanwhile
        if stored is not None:
            return stored
        if path.exists():
            progress.line(f"{path} is damaged, so the base is trained anew")
        _train(data, path, progress)
        return load_weights(path)


def base_path(cache: Cache, data: Dataset) -> Path:
    """Return where the base that was trained here for these images is kept; each training version has its own."""
    return cache.folder / "bases" / f"{data.key}-{TRAINING_VERSION}.npz"


def _stored_weights(path: Path) -> Weights | None:
    """Return a base that was trained before; None where it is missing or damaged."""
    try:
        weights = load_weights(path)
        check_weights(str(path), weights)
    except UsageError:
        return None
    return weights


def _train(data: Dataset, path: Path, progress: Progress) -> None:
    cycles = cycles_for(data)
    epochs = sum(cycle.epochs for cycle in cycles)
    progress.line(f"training the base on {data.name}: {epochs} epochs, once for all studies")

    def show(epoch: Epoch) -> None:
        progress.phase(f"training the base, epoch {epoch.number}/{epochs}, {epoch.accuracy:.1f} %")

    place = TrainingPlace()
    try:
        pretrain(data, path, cycles, on_epoch=show, step_guard=lambda: place)
    except CheckpointError:  # of another version of thrones
        progress.line(f"{checkpoint_of(path)} cannot be continued, so the base is trained from the start")
        checkpoint_of(path).unlink()
        pretrain(data, path, cycles, on_epoch=show, step_guard=lambda: place)


@contextmanager
def _lock(path: Path, progress: Progress) -> Iterator[None]:
    """Keep other studies from training the base at `path`: they wait and take it. The kernel ends the lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.line("another study trains the base for these images; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def bundled_weights() -> Weights:
    """Return the base for CIFAR-10 that ships with thrones."""
    return load_weights(BUNDLED_BASE)


def _own_weights(path: Path) -> Weights:
    try:
        weights = load_weights(path)
    except UsageError as error:
        raise UsageError(f"base {error}, or `thrones import` to make them from your own network") from error
    check_weights(f"base {path}", weights)
    return weights
