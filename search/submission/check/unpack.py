"""A submission out of its zip, whoever packed it: what other systems leave behind is left out, damage is named."""

import lzma
import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from compress.errors import UsageError, one_line

MOST_BYTES = 1_000_000_000
"""A zip that unpacks to more than this is not unpacked."""
_LEFTOVERS = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|~\$|Thumbs\.db$)", re.IGNORECASE)
"""What macOS, Windows and Office put beside the files that were meant."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeDecodeError)


def unpack(path: Path, folder: Path) -> Path:
    """Unpack a submission into `folder`; where its files lie, which is the one folder at the top where all are in one.

    Raises UsageError for a file that is no whole zip, holds a name twice, or would write elsewhere.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _extract(path, archive, folder)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist; name the zip to check") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder; pack it, and name the zip") from error
    except _DAMAGE as error:
        raise UsageError(f"{path} is no whole zip ({one_line(error)}); pack or copy it again") from error
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _extract(path: Path, archive: zipfile.ZipFile, folder: Path) -> None:
    members = {info: info.filename.replace("\\", "/") for info in archive.infolist()}  # as some Windows packers write
    members = {info: name for info, name in members.items() if not name.endswith("/") and not _LEFTOVERS.search(name)}
    size = sum(info.file_size for info in members)
    if size > MOST_BYTES:
        raise UsageError(f"{path} unpacks to {size / 1e6:,.0f} MB, the limit is {MOST_BYTES / 1e6:,.0f} MB")
    seen: set[str] = set()
    for info, name in members.items():
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts or ":" in inside.parts[0]:
            raise UsageError(f"{path} holds {name}, which would be written elsewhere; pack it again")
        if name in seen:
            raise UsageError(f"{path} holds {name} twice; pack it again")
        if info.flag_bits & 1:
            raise UsageError(f"{path} holds {name} encrypted; pack it again without a password")
        seen.add(name)
        target = folder / inside
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(info))
        except OSError as error:
            named = f"{name[:80]} of {path}"
            raise UsageError(f"{named} cannot be unpacked ({error.strerror}); give it another name") from error
