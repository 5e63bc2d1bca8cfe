"""Unpack a submission, whoever packed it: leave out other systems' extra files, and name damage."""

import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edge.errors import UsageError, one_line

MAX_UNPACKED_BYTES = 1_000_000_000
"""A zip that unpacks to more than this is refused."""
_EXTRA_FILES = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|~\$|Thumbs\.db$)", re.IGNORECASE)
"""Files that macOS, Windows and Office add to a folder."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeDecodeError)


def unpack(path: Path, folder: Path) -> Path:
    """Unpack a submission into `folder`, and return where its files are.

    That is the one folder at the top, if everything is in it. Raises UsageError for a file that is no whole zip, that
    holds a name twice, or that would write elsewhere.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _extract(path, archive, folder)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist", remedy="name the zip to check") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder", remedy="pack it, and name the zip") from error
    except _DAMAGE as error:
        raise UsageError(f"{path} is no whole zip ({one_line(error)})", remedy="pack or copy it again") from error
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _extract(path: Path, archive: zipfile.ZipFile, folder: Path) -> None:
    members = list(_members(archive))
    size = sum(info.file_size for info, _ in members)
    if size > MAX_UNPACKED_BYTES:
        raise UsageError(f"{path} unpacks to {size / 1e6:,.0f} MB, the limit is {MAX_UNPACKED_BYTES / 1e6:,.0f} MB")
    seen: set[str] = set()
    for info, name in members:
        _check_member(path, info, name, seen)
        seen.add(name)
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(info))
        except OSError as error:
            message = f"{name[:80]} of {path} cannot be unpacked ({error.strerror})"
            raise UsageError(message, remedy="give it another name") from error


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """Yield the files of the submission with their names."""
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")  # some Windows packers write backslashes
        if not name.endswith("/") and not _EXTRA_FILES.search(name):
            yield info, name


def _check_member(path: Path, info: zipfile.ZipInfo, name: str, seen: set[str]) -> None:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts or ":" in inside.parts[0]:
        raise UsageError(f"{path} holds {name}, which would be written elsewhere", remedy="pack it again")
    if name in seen:
        raise UsageError(f"{path} holds {name} twice", remedy="pack it again")
    if info.flag_bits & 1:
        raise UsageError(f"{path} holds {name} encrypted", remedy="pack it again without a password")
