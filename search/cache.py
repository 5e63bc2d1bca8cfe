"""A folder of what was once trained or measured, named by a hash of everything it depends on, for all studies.

An entry is a line of JSON, what it is and what it depends on, and behind it the bytes. A key is a dictionary of what
the value depends on. An entry that cannot be read, for a power cut or a failing disk, counts as absent.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from compress.io import atomic_write

FORMAT = 2
"""The first one, of thrones 0.1.0, had no first line."""
_KEYS: dict[Path, tuple[Any, ...]] = {}
"""What was read: an entry's key never changes, and a search asks for thousands again and again."""


class Entry(NamedTuple):
    """A file of the cache: what its first line says. `key` is None where it cannot be read."""

    path: Path
    kind: str
    key: tuple[Any, ...] | None


@dataclass(frozen=True)
class Cache:
    """Entries are files `<kind>/<hash of the key>`; an entry is written at once or not at all.

    `tell` hears of an entry that is damaged.
    """

    folder: Path
    tell: Callable[[str], object] = lambda line: None

    def path(self, kind: str, *key: Any) -> Path:
        """Where the entry for this key stands or would stand."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        return self.folder / kind / digest

    def get(self, kind: str, *key: Any) -> bytes | None:
        """The entry, or None."""
        return self._read(self.path(kind, *key))

    def put(self, value: bytes, kind: str, *key: Any) -> None:
        """Write the entry."""
        atomic_write(self.path(kind, *key), _packed(value, kind, key))

    def add(self, value: bytes, kind: str, *key: Any) -> None:
        """Write one more entry of this key: a sample, of which all are kept."""
        path = self.path(kind, *key)
        atomic_write(path / f"{time.time_ns():020d}", _packed(value, kind, key))

    def samples(self, kind: str, *key: Any) -> list[bytes]:
        """What was added under this key, the oldest first."""
        found = (self._read(path) for path in sorted(self.path(kind, *key).glob("[!.]*")))
        return [value for value in found if value is not None]

    def keys(self, kind: str) -> Iterator[tuple[Any, ...]]:
        """The keys of all entries of a kind that can be read, in an order that stays."""
        for path in sorted((self.folder / kind).glob("[!.]*")):
            key = _read_key(path)
            if key is not None:
                yield key

    def entries(self) -> list[Entry]:
        """Every file of the cache, those that are being written or were left half written included."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [Entry(path, self._kind_of(path), _read_key(path) if self._whole(path) else None) for path in files]

    def _kind_of(self, path: Path) -> str:
        return path.relative_to(self.folder).parts[0]

    def _whole(self, path: Path) -> bool:
        try:
            return _unpacked(path.read_bytes()) is not None
        except OSError:
            return False

    def _read(self, path: Path) -> bytes | None:
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:  # a failing disk; what it held can be made again
            self.tell(f"{path} cannot be read ({error.strerror}); it is made anew")
            return None
        value = _unpacked(content)
        if value is None:
            self.tell(f"{path} is damaged; it is made anew")
        return value


def _packed(value: bytes, kind: str, key: tuple[Any, ...]) -> bytes:
    about = {"format": FORMAT, "kind": kind, "key": key, "sha256": hashlib.sha256(value).hexdigest()}
    return json.dumps(about).encode() + b"\n" + value


def _unpacked(content: bytes) -> bytes | None:
    """The value, or None where it is not what was written."""
    first, _, value = content.partition(b"\n")
    about = _about(first)
    if about is None or about.get("sha256") != hashlib.sha256(value).hexdigest():
        return None
    return value


def _read_key(path: Path) -> tuple[Any, ...] | None:
    known = _KEYS.get(path)
    if known is not None:
        return known
    try:
        with path.open("rb") as file:
            about = _about(file.readline())
    except OSError:
        return None
    if about is None:
        return None
    _KEYS[path] = tuple(about["key"])
    return _KEYS[path]


def _about(line: bytes) -> dict[str, Any] | None:
    try:
        about = json.loads(line)
    except ValueError:
        return None
    known = isinstance(about, dict) and about.get("format") == FORMAT and isinstance(about.get("key"), list)
    return about if known else None
