"""The base network of a study: bundled for CIFAR-10, trained once and kept for any other data."""

from importlib import resources
from pathlib import Path

from compress.data import Dataset
from compress.network import Weights, load_weights
from compress.pretrain import cycles_for, pretrain
from compress.train import Epoch
from search.cache import Cache
from search.progress import Progress

BUNDLED = "mobilenet_v1_cifar10.npz"


def base_weights(data: Dataset, cache: Cache, progress: Progress) -> Weights:
    """The unpruned network's weights for `data`: shipped with thrones, from the cache, or trained here and now."""
    if data.name == "cifar10":
        return load_weights(Path(str(resources.files("compress") / "weights" / BUNDLED)))
    path = cache.folder / "bases" / f"{data.key}.npz"
    if not path.exists():
        cycles = cycles_for(data)
        epochs = sum(cycle.epochs for cycle in cycles)
        progress.line(f"training the base on {data.name}: {epochs} epochs, once for all studies")

        def show(epoch: Epoch) -> None:
            progress.phase(f"training the base, epoch {epoch.number}/{epochs}, {epoch.accuracy:.1f} %")

        pretrain(data, path, cycles, on_epoch=show)
    return load_weights(path)
