"""What `thrones cache` says of each entry, and what --prune removes."""

import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compress.versions import conversion_versions, training_versions
from edge.measuring.environment import kind_of, read_environment
from search.cli.app import app
from search.storage.cache import Cache
from search.storage.cache_usage import DAMAGED, USED, prune, usage

HERE = {name: str(value) for name, value in kind_of(read_environment(), "local:").items()}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def verdicts(cache: Cache) -> dict[str, tuple[str, bool]]:
    return {row.kind: (row.verdict, row.passed_over) for row in usage(cache)}


def test_what_this_version_made_on_this_host_is_used(cache: Cache) -> None:
    cache.put(b"x", "weights", {"spec": {}, **training_versions()})
    cache.put(b"x", "model", {"spec": {}, **training_versions(), **conversion_versions()})
    cache.add(b"x", "structures", {"board": {"meter": "none", **HERE}})
    assert set(verdicts(cache).values()) == {(USED, False)}


def test_another_version_of_code_or_library_is_passed_over(cache: Cache) -> None:
    cache.put(b"x", "weights", {**training_versions(), "training version": 1})
    cache.put(b"x", "model", {**training_versions(), **conversion_versions(), "tensorflow": "2.19.0"})
    found = verdicts(cache)
    assert found["weights"] == ("passed over: made with training version 1, this is 2", True)
    assert found["model"][0].startswith("passed over: made with tensorflow 2.19.0, this is ")


def test_another_device_is_named_and_kept(cache: Cache) -> None:
    cache.add(b"x", "structures", {"board": {**HERE, "simd": "avx2"}})
    cache.add(b"x", "measurements", {"board": {"cpu": "Raspberry Pi 3", "runtime": "ai-edge-litert 2.3.0"}})
    found = verdicts(cache)
    assert found["structures"][0].startswith("passed over: measured with simd avx2, here is ")
    assert found["measurements"][0] == "used where the device is Raspberry Pi 3, ai-edge-litert 2.3.0"
    assert prune(usage(cache)) == (0, 0)  # another host may share this folder


def test_damaged_and_former_entries_go_and_old_ones_where_asked(cache: Cache) -> None:
    cache.put(b"x", "weights", training_versions())
    (cache.folder / "trained").mkdir()
    (cache.folder / "trained" / "0123").write_bytes(b'{"epochs": 4}')  # as version 0.1 wrote it
    (cache.folder / "bases").mkdir()
    (cache.folder / "bases" / "0123456789abcdef.npz").write_bytes(b"of version 0.1")
    assert verdicts(cache)["trained"] == (DAMAGED, True)
    assert prune(usage(cache))[0] == 2
    assert verdicts(cache) == {"weights": (USED, False)}
    long_ago_s = time.time() - 10 * 86_400
    os.utime(cache.path("weights", training_versions()), (long_ago_s, long_ago_s))
    assert prune(usage(cache), older_than_days=11)[0] == 0
    assert prune(usage(cache), older_than_days=9)[0] == 1


def test_the_command_shows_prunes_and_refuses(cache: Cache) -> None:
    runs = str(cache.folder.parent)

    def say(*arguments: str) -> str:
        ended = CliRunner().invoke(app, ["cache", "--runs", runs, *arguments])
        return ended.stdout if ended.exit_code == 0 else f"{ended.exit_code} {ended.stderr}"

    assert "holds nothing; `thrones run` fills it" in say()
    cache.put(b"x", "weights", {**training_versions(), "training version": 1})
    assert "trained networks" in say() and "`thrones cache --prune` removes" in say()
    (row,) = json.loads(say("--json"))
    assert (row["kind"], row["entries"]) == ("weights", 1)
    assert say("--older-than", "3").startswith("2 thrones: --older-than 3 needs --prune")
    assert "removed 1 of 1 entries" in say("--prune")
    assert "holds nothing" in say()
