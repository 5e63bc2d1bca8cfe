"""The base network of a study: bundled for CIFAR-10, trained once and kept for any other data."""

from importlib import resources
from pathlib import Path

from compress.checkpoint import check_weights
from compress.data import Dataset
from compress.errors import UsageError
from compress.network import Weights, load_weights
from compress.pretrain import cycles_for, pretrain
from compress.train import Epoch
from search.cache import Cache
from search.progress import Progress

BUNDLED = "mobilenet_v1_cifar10.npz"


def base_weights(data: Dataset, cache: Cache, progress: Progress, own: str | None = None) -> Weights:
    """The unpruned network's weights for `data`: shipped with thrones, from the cache, or trained here and now.

    own: the path of an .npz with weights to take instead. Raises UsageError when they are not the 85 layers' weights.
    """
    if own is not None:
        return _own_weights(Path(own))
    if data.name == "cifar10":
        return bundled_weights()
    path = cache.folder / "bases" / f"{data.key}.npz"
    if not path.exists():
        cycles = cycles_for(data)
        epochs = sum(cycle.epochs for cycle in cycles)
        progress.line(f"training the base on {data.name}: {epochs} epochs, once for all studies")

        def show(epoch: Epoch) -> None:
            progress.phase(f"training the base, epoch {epoch.number}/{epochs}, {epoch.accuracy:.1f} %")

        pretrain(data, path, cycles, on_epoch=show)
    return load_weights(path)


def bundled_weights() -> Weights:
    """The base for CIFAR-10 that ships with thrones."""
    return load_weights(Path(str(resources.files("compress") / "weights" / BUNDLED)))


def _own_weights(path: Path) -> Weights:
    try:
        weights = load_weights(path)
    except UsageError as error:
        raise UsageError(f"base {error}, or `thrones import` to make them of your own network") from error
    check_weights(f"base {path}", weights)
    return weights
