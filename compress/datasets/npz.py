"""Own images: an .npz with x_train, y_train, x_test, y_test."""

from pathlib import Path

import numpy as np

from compress.datasets.dataset import Dataset, checked_arrays, split
from compress.errors import UsageError, one_line

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: Path, *, name: str, rule_percent: float | None, flip: bool = False) -> Dataset:
    """Return the data set in an .npz; images uint8 (N, 32, 32, 3), labels 0..9.

    Args:
        path: the file.
        name, rule_percent, flip: as in `Dataset`.

    Raises:
        UsageError: the file is missing, damaged or holds other arrays.
    """
    try:
        with np.load(path) as archive:
            arrays = {key: archive[key] for key in ARRAYS}
    except FileNotFoundError as error:
        raise UsageError(
            f"{path} does not exist", remedy="data is cifar10, digits or the path of an .npz"
        ) from error
    except KeyError as error:
        raise UsageError(f"{path}: {error.args[0]}", remedy=f"wanted arrays {', '.join(ARRAYS)}") from error
    except Exception as error:  # a damaged archive raises zipfile's, zlib's, numpy's or the system's
        raise UsageError(f"{path} is no readable .npz ({one_line(error)})", remedy="write it again") from error
    train = checked_arrays(f"{path}: x_train", arrays["x_train"], arrays["y_train"])
    test = checked_arrays(f"{path}: x_test", arrays["x_test"], arrays["y_test"])
    return split(name, str(path), train, test, flip=flip, rule_percent=rule_percent)
