"""The cache of what was trained and measured."""

import os
from pathlib import Path
from typing import Any

import pytest

from compress.files import write_at_once
from search.cache import Cache


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_an_entry_comes_back_under_its_key_alone(cache: Cache) -> None:
    key = ("spec", {"epochs": 4, "rate": 0.05}, [1, 2])
    assert cache.get("model", *key) is None
    cache.put(b"bytes", "model", *key)
    assert cache.get("model", *key) == b"bytes"
    assert cache.get("about", *key) is None
    assert cache.get("model", *key[:-1], [2, 1]) is None
    assert cache.get("model", *key, None) is None
    cache.put(b"other", "model", *key)
    assert Cache(cache.folder).get("model", *key) == b"other"


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
        cache.put("no bytes", "model", 1)  # type: ignore[arg-type]  # so that the write itself fails
    assert cache.get("model", 1) == b"old"
    assert [path.name for path in (cache.folder / "model").iterdir()] == [cache.path("model", 1).name]


def test_entries_of_a_kind_are_listed_once_they_are_whole(cache: Cache) -> None:
    assert cache.paths("trained/here") == []
    cache.put(b"one", "trained/here", 1)
    cache.put(b"two", "trained/there", 2)
    (cache.folder / "trained" / "here" / ".tmp").write_bytes(b"half")
    assert [path.read_bytes() for path in cache.paths("trained/here")] == [b"one"]


def test_a_write_makes_its_folder_and_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.tflite"
    write_at_once(path, b"1")
    write_at_once(path, b"2")
    assert path.read_bytes() == b"2"
