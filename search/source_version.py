"""Which thrones this is: its version, and a hash of its source, so that two working copies can be told apart."""

from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path


@cache
def version() -> str:
    """Return the version of thrones and a hash of its source, such as "0.1.0 (3f2a91c04b7d)"."""
    root = Path(__file__).parent.parent
    digest = sha256()
    for folder in ("compress", "edge", "search"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    try:
        number = installed("thrones")
    except PackageNotFoundError:
        number = "not installed"
    return f"{number} ({digest.hexdigest()[:12]})"
