"""A folder of what was once trained or measured, named by a hash of everything it depends on, for all studies."""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cache:
    """Entries are files `<kind>/<hash of the key>`; an entry is written at once or not at all."""

    folder: Path

    def path(self, kind: str, *key: Any) -> Path:
        """Where the entry for this key stands or would stand."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        return self.folder / kind / digest

    def get(self, kind: str, *key: Any) -> bytes | None:
        """The entry, or None."""
        try:
            return self.path(kind, *key).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, value: bytes, kind: str, *key: Any) -> None:
        """Write the entry."""
        write_at_once(self.path(kind, *key), value)


def write_at_once(path: Path, value: bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(value)
        os.replace(unfinished, path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
