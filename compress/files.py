"""Files that are there as a whole or not at all."""

import os
import secrets
from pathlib import Path


def write_at_once(path: Path, value: bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one, never half of it; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{secrets.token_hex(8)}"  # opened as any file, so that others may read it
    try:
        with unfinished.open("xb") as file:
            file.write(value)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
