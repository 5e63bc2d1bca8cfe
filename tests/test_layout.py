"""How large files and folders of the packages may be, and that a file's name says which one it is."""

from collections import Counter
from pathlib import Path

from paths import ROOT

PACKAGES = ("compress", "edge", "search")
MAX_FILES_A_FOLDER = 12
MAX_LINES_A_FILE = 300
SHARED_NAMES = {"__init__.py", "__main__.py", "errors.py"}
"""Names with the same meaning in each package."""


def _modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_no_folder_has_many_files() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    counts = Counter(path.parent for path in files if "__pycache__" not in path.parts)
    crowded = {str(folder.relative_to(ROOT)): count for folder, count in counts.items() if count > MAX_FILES_A_FOLDER}
    assert not crowded, f"give some of these files a room of their own: {crowded}"


def test_no_file_is_long() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in _modules()}
    long = {name: count for name, count in lines.items() if count > MAX_LINES_A_FILE}
    assert not long, f"split these files by what they are about: {long}"


def test_no_two_files_have_one_name() -> None:
    names = Counter(path.name for path in _modules())
    twice = sorted(name for name, count in names.items() if count > 1 and name not in SHARED_NAMES)
    assert not twice, f"say in the name which one it is: {twice}"


def test_no_file_is_named_like_another_in_the_plural() -> None:
    stems = {path.stem for path in _modules()}
    assert not sorted(stem for stem in stems if f"{stem}s" in stems)
