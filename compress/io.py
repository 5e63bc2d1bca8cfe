"""Files that are there as a whole or not at all."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_at_once(path: Path, value: bytes) -> None:
    """Write a file so that a kill or a power cut leaves the old one or the new one, never half of it; makes its folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{secrets.token_hex(8)}"  # opened as any file, so that others may read it
    try:
        with unfinished.open("xb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())  # else the new name may reach the disk before the content
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # some network file systems cannot, and the file is whole all the same
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
