"""The rooms of `compress`: imports go one way, from the rooms to the ground files."""

import ast
from collections.abc import Sequence
from pathlib import Path

import compress

FOLDER = Path(compress.__path__[0])
MAY_IMPORT: dict[str, set[str]] = {
    "ground": set(),
    "datasets": {"ground"},
    "training": {"ground", "datasets"},
    "importing": {"ground"},
}
MAX_FILES = 12


def _room(parts: Sequence[str]) -> str:
    """Return the room of a module below `compress`, given by the parts of its name."""
    first = parts[0] if parts else "ground"
    return first if first in MAY_IMPORT else "ground"


def _imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "compress":
            rooms.add(_room(node.module.split(".")[1:]))
    return rooms


def test_imports_go_from_the_rooms_to_the_ground() -> None:
    for path in FOLDER.rglob("*.py"):
        room = _room(path.relative_to(FOLDER).parts)
        assert _imported_rooms(path) <= MAY_IMPORT[room] | {room}, path


def test_no_folder_is_crowded() -> None:
    for folder in (FOLDER, *(FOLDER / room for room in MAY_IMPORT if room != "ground")):
        assert len(list(folder.glob("*.py"))) <= MAX_FILES, folder
