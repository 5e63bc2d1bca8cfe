"""Load a data set by its name.

`cifar10` is searched in the folder or file given, then in THRONES_DATA, then in Keras' own cache, and is
downloaded by Keras as a last resort. `digits` are the handwritten digits that scikit-learn ships. Any other
name is the path of an .npz with x_train, y_train, x_test, y_test.
"""

from pathlib import Path

from compress.datasets import cifar10
from compress.datasets.dataset import Dataset
from compress.datasets.digits import load_digits
from compress.datasets.npz import load_npz


def load(name: str = cifar10.NAME, folder: Path | None = None) -> Dataset:
    """Return the data set `cifar10`, `digits`, or the .npz at the path `name`; `folder` is that of `--data`.

    Raises:
        UsageError: it is missing or damaged.
        DatasetNotFoundError: it cannot be downloaded.
    """
    if name == cifar10.NAME:
        return cifar10.load_cifar10(folder)
    if name == "digits":
        return load_digits()
    return load_npz(Path(name), name=Path(name).stem, rule_percent=None)
