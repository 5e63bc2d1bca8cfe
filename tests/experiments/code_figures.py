"""How the code is built, in figures: `make code-figures`, or with the path of another checkout to compare with.

For each package: files, lines, the fullest folder, the longest file, the longest chain of imports, and per 1,000 lines
the conditional expressions, the comprehensions and the lines of more than 100 columns.
"""

import ast
import sys
from collections import Counter
from pathlib import Path

PACKAGES = ("search", "edge", "compress")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
Imports = dict[str, set[str]]


def main() -> None:
    """Print a line for each package, and the number of words of the README."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for package in PACKAGES:
        print(f"{package}: {describe(root, package)}")
    print(f"README.md: {len((root / 'README.md').read_text().split())} words")


def describe(root: Path, package: str) -> str:
    """Return the figures of a package in one line."""
    paths = sorted((root / package).rglob("*.py"))
    texts = {path: path.read_text() for path in paths}
    nodes = [node for text in texts.values() for node in ast.walk(ast.parse(text))]
    lines = [line for text in texts.values() for line in text.splitlines()]

    def per_thousand(count: int) -> str:
        return f"{1000 * count / len(lines):.0f}"

    folders = Counter(path.parent for path in (root / package).rglob("*") if path.is_file() and _counts(path))
    folder, most = folders.most_common(1)[0]
    longest = max(paths, key=lambda path: len(texts[path].splitlines()))
    return (
        f"{len(paths)} files, {len(lines)} lines; {most} files in {folder.relative_to(root)}; "
        f"{len(texts[longest].splitlines())} lines in {longest.relative_to(root)}; "
        f"{import_levels(imports_of(root, texts))} levels of imports; per 1,000 lines "
        f"{per_thousand(sum(isinstance(node, ast.IfExp) for node in nodes))} conditional expressions, "
        f"{per_thousand(sum(isinstance(node, COMPREHENSIONS) for node in nodes))} comprehensions, "
        f"{per_thousand(sum(len(line) > 100 for line in lines))} lines of more than 100 columns"
    )


def _counts(path: Path) -> bool:
    return "__pycache__" not in path.parts and "weights" not in path.parts


def imports_of(root: Path, texts: dict[Path, str]) -> Imports:
    """Return which modules of a package each of them imports."""
    names = {".".join(path.relative_to(root).with_suffix("").parts): text for path, text in texts.items()}
    found: Imports = {}
    for name, text in names.items():
        wanted = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        found[name] = wanted & set(names) - {name}
    return found


def import_levels(imports: Imports) -> int:
    """Return the number of modules in the longest chain of imports; a module of a circle counts once."""
    levels: dict[str, int] = {}

    def level(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            return 0
        if name not in levels:
            levels[name] = 1 + max((level(other, (*above, name)) for other in imports[name]), default=0)
        return levels[name]

    return max(level(name, ()) for name in imports)


if __name__ == "__main__":
    main()
