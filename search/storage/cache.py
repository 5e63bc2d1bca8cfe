"""Keep trained models and measurements for all studies, in files named by a hash of everything that they depend on.

An entry is a line of JSON (its kind and key), followed by the bytes. A key is a dictionary of everything that the value
depends on. An entry that cannot be read, after a power cut or on a failing disk, counts as absent.
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
"""Format 1, of thrones 0.1.0, had no first line."""
_KEYS: dict[Path, tuple[Any, ...]] = {}
"""Keys that were read: the key of an entry never changes, and a search reads thousands again and again."""


class Entry(NamedTuple):
    """A file of the cache and the key in its first line; `key` is None where it cannot be read."""

    path: Path
    kind: str
    key: tuple[Any, ...] | None


@dataclass(frozen=True)
class Cache:
    """Entries are files `<kind>/<hash of the key>`; an entry is written whole or not at all.

    `log` gets a line for each damaged entry.
    """

    folder: Path
    log: Callable[[str], object] = lambda line: None

    def path(self, kind: str, *key: Any) -> Path:
        """Return the place of the entry for this key, whether it exists or not."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        return self.folder / kind / digest

    def get(self, kind: str, *key: Any) -> bytes | None:
        """Return the entry, or None."""
        return self._read(self.path(kind, *key))

    def put(self, value: bytes, kind: str, *key: Any) -> None:
        """Write the entry."""
        atomic_write(self.path(kind, *key), _packed(value, kind, key))

    def add(self, value: bytes, kind: str, *key: Any) -> None:
        """Write one more entry for this key: a sample. All samples are kept."""
        path = self.path(kind, *key)
        atomic_write(path / f"{time.time_ns():020d}", _packed(value, kind, key))

    def samples(self, kind: str, *key: Any) -> list[bytes]:
        """Return the samples of this key, the oldest first."""
        found = (self._read(path) for path in sorted(self.path(kind, *key).glob("[!.]*")))
        return [value for value in found if value is not None]

    def keys(self, kind: str) -> Iterator[tuple[Any, ...]]:
        """Return the keys of all readable entries of a kind, in a stable order."""
        for path in sorted((self.folder / kind).glob("[!.]*")):
            key = _read_key(path)
            if key is not None:
                yield key

    def entries(self) -> list[Entry]:
        """Return every file of the cache, including files that are being written or were left half written."""
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
        except OSError as error:  # a failing disk; the value can be made again
            self.log(f"{path} cannot be read ({error.strerror}); it is made anew")
            return None
        value = _unpacked(content)
        if value is None:
            self.log(f"{path} is damaged; it is made anew")
        return value


def _packed(value: bytes, kind: str, key: tuple[Any, ...]) -> bytes:
    about = {"format": FORMAT, "kind": kind, "key": key, "sha256": hashlib.sha256(value).hexdigest()}
    return json.dumps(about).encode() + b"\n" + value


def _unpacked(content: bytes) -> bytes | None:
    """Return the value, or None where it is not what was written."""
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
