"""Find and read the files of an unpacked submission."""

from pathlib import Path

from edge.errors import UsageError


def is_ours(folder: Path) -> bool:
    """Return True where `thrones submit` has packed the submission: its raw figures must be there, and be ours."""
    return (folder / "REPRODUCE.md").is_file()


def topmost(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Return the files with one of these endings that are the least deep.

    Those under code/, which may hold more of them, do not count.
    """
    found = []
    for place in folder.iterdir():
        if place.name == "code":
            continue
        files = place.rglob("*") if place.is_dir() else [place]
        found += [path for path in files if path.is_file() and path.suffix.lower() in endings]
    depth = min((len(path.parts) for path in found), default=0)
    return sorted(path for path in found if len(path.parts) == depth)


def read(path: Path) -> str:
    """Return a text of the submission. Raises UsageError where it is missing or damaged."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path.name} is missing") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is no UTF-8 text") from error
