"""A folder of what was once trained or measured, named by a hash of everything it depends on, for all studies."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.files import write_at_once


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

    def paths(self, kind: str) -> list[Path]:
        """Where the entries of a kind stand, in an order that stays."""
        return sorted((self.folder / kind).glob("[!.]*"))  # not those that are being written

    def put(self, value: bytes, kind: str, *key: Any) -> None:
        """Write the entry."""
        write_at_once(self.path(kind, *key), value)
