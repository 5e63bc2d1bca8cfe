"""A name for arrays that is the same wherever it is computed."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def arrays_key(arrays: Iterable[NDArray[Any]]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 over the arrays' bytes, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
