"""Uploads on the device: files named by their sha256, in pieces, within limits; the oldest unused is removed first."""

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from edge.errors import UnavailableError, UsageError

MAX_FILE_BYTES = 128_000_000
"""Four times the 10,000 test images as an .npy, the largest thing that is ever sent."""
MAX_STORE_BYTES = 512_000_000
_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Store:
    """Files in `folder`, which is made on the first upload. Nothing outside it is ever touched. Safe in threads."""

    folder: Path
    max_file_bytes: int = MAX_FILE_BYTES
    max_store_bytes: int = MAX_STORE_BYTES
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def path(self, sha256: str) -> Path:
        """Return the path of this file, which counts as used now. Raises UsageError when it is not there."""
        path = self._name(sha256)
        try:
            os.utime(path)
        except FileNotFoundError as error:
            raise UsageError(
                f"file {sha256[:12]} is not on the device",
                remedy="upload it first",
            ) from error
        return path

    def received(self, sha256: str, total: int) -> int:
        """Return how many bytes of this file of `total` bytes have come so far: all of them, the first few, or 0."""
        with self._lock:
            return self._received(self._name(sha256), total)

    def append(self, sha256: str, offset: int, total: int, piece: bytes) -> int:
        """Add a piece at `offset` of a file of `total` bytes; return how many bytes have come so far.

        A piece that does not begin where the last one ended changes nothing: the answer says where to continue.
        Raises UsageError for a size over the limit or for content that the sha256 does not match,
        UnavailableError when the disk is full.
        """
        path = self._name(sha256)
        if not 0 < total <= self.max_file_bytes or offset < 0 or offset + len(piece) > total:
            raise UsageError(
                f"{len(piece)} bytes at {offset} of a file of {total}: a file has 1 to {self.max_file_bytes} bytes"
            )
        with self._lock:  # two hosts may send the same file at the same time
            received = self._received(path, total)
            if received != offset or received == total:
                return received
            part = path.with_suffix(".part")
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._make_room(total, keep=part)
                with part.open("ab") as file:
                    file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())  # else a power cut may leave a file of this name and another content
            except OSError as error:
                part.unlink(missing_ok=True)
                raise UnavailableError(
                    f"the device cannot store {total} bytes in {self.folder} ({error.strerror})",
                    remedy="free space there",
                ) from error
            if offset + len(piece) == total:
                found = hashlib.sha256(part.read_bytes()).hexdigest()
                if found != sha256:
                    part.unlink()
                    raise UsageError(
                        f"what was sent as {sha256[:12]} has the sha256 {found[:12]}",
                        remedy="send it again",
                    )
                os.replace(part, path)
            return offset + len(piece)

    def _received(self, path: Path, total: int) -> int:
        part = path.with_suffix(".part")
        if path.exists():
            if path.stat().st_size == total:
                return total
            path.unlink()
        if not part.exists():
            return 0
        size = part.stat().st_size
        if size >= total:  # the agent was killed before it could look at what it had
            part.unlink()
            return 0
        return size

    def _make_room(self, total: int, keep: Path) -> None:
        files = sorted((path for path in self.folder.iterdir() if path != keep), key=lambda path: path.stat().st_mtime)
        used = sum(path.stat().st_size for path in files)
        while files and used + total > self.max_store_bytes:
            oldest = files.pop(0)
            used -= oldest.stat().st_size
            oldest.unlink()

    def _name(self, sha256: str) -> Path:
        if _NAME.fullmatch(sha256) is None:
            raise UsageError(f"{sha256[:80]!r} is no sha256: 64 hexadecimal digits are needed")
        return self.folder / sha256
