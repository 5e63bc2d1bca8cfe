"""Report the content of the cache, and why each entry would be used or passed over."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.versions import TRAINING_VERSION, conversion_versions, training_versions
from edge.measuring.environment import kind_of, read_environment
from search.storage.cache import Cache, Entry

MEANINGS = {
    "bases": "unpruned networks, trained on data that has no bundled one",
    "base": "the unpruned network, converted",
    "teacher": "the base's logits on the training images",
    "weights": "trained networks",
    "model": "trained networks, converted",
    "untrained": "untrained architectures, converted",
    "labels": "labels that models give to the images",
    "structures": "speed of architectures: samples",
    "turns": "speed of architectures, in turns with the best: rounds",
    "measurements": "measurements of trained models: samples",
    "speed": "speed of the base at each start",
}
USED = "used"
DAMAGED = "cannot be read: damaged, half written, or of thrones 0.1"
DAY_S = 86_400
WRITTEN_WITHIN_S = 3_600


@dataclass(frozen=True)
class Usage:
    """Entries of one kind with the same verdict; `passed_over`: this installation never reads them."""

    kind: str
    verdict: str
    passed_over: bool
    paths: tuple[Path, ...]
    size_bytes: int


def usage(cache: Cache) -> list[Usage]:
    """Return all entries of the cache, grouped by kind and verdict."""
    grouped: dict[tuple[str, str, bool], list[Path]] = {}
    here = {name: str(value) for name, value in kind_of(read_environment(), "local:").items()}
    for entry in cache.entries():
        if entry.kind == "bases":  # files of their own format, named after the version of the training
            passed_over = not entry.path.name.partition(".")[0].endswith(f"-{TRAINING_VERSION}")
            verdict = f"passed over: not of training version {TRAINING_VERSION}" if passed_over else USED
        else:
            verdict, passed_over = _verdict(entry, here)
        grouped.setdefault((entry.kind, verdict, passed_over), []).append(entry.path)
    return [
        Usage(kind, verdict, passed_over, tuple(paths), sum(path.stat().st_size for path in paths))
        for (kind, verdict, passed_over), paths in sorted(grouped.items())
    ]


def prune(found: Iterable[Usage], older_than_days: float | None = None) -> tuple[int, int]:
    """Remove what is passed over, and with `older_than_days` what is older; return the number of files and of bytes."""
    removed = size_bytes = 0
    for each in found:
        for path in each.paths:
            about = path.stat()
            age_s = time.time() - about.st_mtime
            if path.suffix == ".lock" or (path.name.startswith(".") and age_s < WRITTEN_WITHIN_S):
                continue  # another process may hold it, or be writing it
            if each.passed_over or (older_than_days is not None and age_s > older_than_days * DAY_S):
                path.unlink(missing_ok=True)
                removed, size_bytes = removed + 1, size_bytes + about.st_size
    return removed, size_bytes


def _verdict(entry: Entry, here: Mapping[str, str]) -> tuple[str, bool]:
    """Return why an entry is used or passed over, and whether this installation never reads it."""
    key: Any = entry.key[0] if entry.key else None
    if not isinstance(key, dict):
        return DAMAGED, True
    for name, now in {**training_versions(), **conversion_versions()}.items():
        if name in key and key[name] != now:
            return f"passed over: made with {name} {key[name]}, this is {now}", True
    device = key.get("board")
    if not isinstance(device, dict):
        return USED, False
    if "host" not in device:
        return f"used where the device is {device.get('cpu')}, {device.get('runtime')}", False
    differing = [name for name, value in here.items() if device.get(name) != value]
    if differing:
        name = differing[0]
        return f"passed over: measured with {name} {device.get(name)}, here is {here[name]}", False
    return USED, False
