"""Files that are there as a whole or not at all."""

import os
import tempfile
from pathlib import Path


def write_at_once(path: Path, value: bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one, never half of it; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(value)
        os.replace(unfinished, path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
