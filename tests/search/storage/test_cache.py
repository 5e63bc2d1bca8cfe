"""The cache of what was trained and measured."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.io import atomic_write
from search.storage.cache import Cache


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_an_entry_comes_back_under_its_key_alone(cache: Cache) -> None:
    key = {"spec": {"epochs": 4, "rate": 0.05}, "data": [1, 2]}
    assert cache.get("model", key) is None
    cache.put(b"bytes\nof two lines", "model", key)
    assert cache.get("model", key) == b"bytes\nof two lines"
    assert cache.get("weights", key) is None
    assert cache.get("model", {**key, "data": [2, 1]}) is None
    assert cache.get("model", key, None) is None
    cache.put(b"other", "model", key)
    assert Cache(cache.folder).get("model", key) == b"other"


def test_the_order_of_names_in_a_key_does_not_matter(cache: Cache) -> None:
    cache.put(b"bytes", "model", {"a": 1, "b": {"c": 2, "d": 3}})
    assert cache.get("model", {"b": {"d": 3, "c": 2}, "a": 1}) == b"bytes"


def test_a_key_that_is_no_json_is_refused(cache: Cache) -> None:
    with pytest.raises(TypeError):
        cache.put(b"bytes", "model", object())


def test_a_failed_write_leaves_the_old_entry_and_nothing_else(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(b"old", "model", 1)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space left"):
            cache.put(b"new", "model", 1)
    with pytest.raises(TypeError, match="bytes-like"):
        atomic_write(cache.path("model", 1), "no bytes")  # type: ignore[arg-type]  # so that the write itself fails
    assert cache.get("model", 1) == b"old"
    assert [path.name for path in (cache.folder / "model").iterdir()] == [cache.path("model", 1).name]


def test_samples_are_kept_beside_each_other_in_the_order_of_their_time(cache: Cache) -> None:
    assert cache.samples("speed", "net") == []
    for value in (b"one", b"two", b"one"):
        cache.add(value, "speed", "net")
    cache.add(b"other", "speed", "other net")
    assert cache.samples("speed", "net") == [b"one", b"two", b"one"]


def test_the_keys_of_a_kind_are_listed(cache: Cache) -> None:
    assert list(cache.keys("weights")) == []
    cache.put(b"one", "weights", {"spec": 1})
    cache.put(b"two", "model", {"spec": 2})
    (cache.folder / "weights" / ".tmp").write_bytes(b"half")
    assert list(cache.keys("weights")) == [({"spec": 1},)]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "cut in its value": lambda content: content[:-1],
    "garbled": lambda content: content[:-3] + bytes(byte ^ 0x55 for byte in content[-3:]),
    "of the former format": lambda content: content.partition(b"\n")[2],
    "another file's": lambda content: b'{"format": 2, "key": 7}\n' + content,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_absent_and_reported(cache: Cache, damage: str) -> None:
    lines: list[str] = []
    cache = Cache(cache.folder, lines.append)
    cache.put(b"value of some length", "model", 1)
    cache.add(b"sample", "speed", 1)
    for path in [path for path in cache.folder.rglob("*") if path.is_file()]:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert cache.get("model", 1) is None
    assert cache.samples("speed", 1) == []
    assert [line.rpartition("is damaged")[1:] for line in lines] == [("is damaged", "; it is made anew")] * 2
    assert [entry.key for entry in cache.entries()] == [None, None]
    cache.put(b"new", "model", 1)
    assert cache.get("model", 1) == b"new"


@given(content=st.binary(max_size=200))
def test_whatever_stands_in_a_file_it_is_an_entry_or_absent(tmp_path_factory: Any, content: bytes) -> None:
    cache = Cache(tmp_path_factory.mktemp("any"))
    atomic_write(cache.path("model", 1), content)
    assert cache.get("model", 1) is None
    assert [entry.key for entry in cache.entries()] == [None]


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace, fsync = os.replace, os.fsync

    def synced(file: int) -> None:
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{file}") else "content")
        fsync(file)

    def renamed(source: Path, target: Path) -> None:
        done.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    atomic_write(tmp_path / "file", b"1")
    assert done == ["content", "name", "folder"]


def test_a_write_makes_its_folder_and_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.tflite"
    atomic_write(path, b"1")
    atomic_write(path, b"2")
    assert path.read_bytes() == b"2"
