"""A submission's zip, whoever packed it: unpacked, or refused in one line."""

import io
import struct
import zipfile
from pathlib import Path

import pytest
import squares
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.errors import UsageError
from search.submission.check.unpack import unpack

HAND = {"model.tflite": b"model" * 99, "M3_9.pptx": b"slide" * 99, "code/train.py": b"print(1)\n" * 99}


def packed(path: Path, *more: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (*HAND.items(), *more):
            archive.writestr(name, content)
    return path


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_other_systems_leave_behind_is_left_out_and_their_slashes_turned(tmp_path: Path) -> None:
    left = [(name, b"") for name in ("__MACOSX/._a.py", ".DS_Store", "code/._train.py", "~$M3_9.pptx", "Thumbs.db")]
    path = packed(tmp_path / "M3_9.zip", *left, ("code\\edge\\a.py", b"1"))
    assert names(unpack(path, tmp_path / "out")) == {*HAND, "code/edge/a.py"}


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "..\\evil.py", "C:\\evil.py"])
def test_what_would_be_written_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would be written elsewhere"):
        unpack(packed(tmp_path / "M3_9.zip", (name, b"1")), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_each_fault_has_its_own_reason(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(UsageError) as caught:
            unpack(path, tmp_path / "out")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    path = tmp_path / "M3_9.zip"
    assert "holds model.tflite twice" in refused(packed(path, ("model.tflite", b"other")))
    assert "cannot be unpacked (File name too long)" in refused(packed(path, ("a" * 300, b"1")))
    assert "cannot be unpacked (File exists)" in refused(packed(path, ("code/train.py/b", b"1")))
    content = bytearray(packed(path).read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = content.find(mark)
        (flags,) = struct.unpack_from("<H", content, start + at)
        struct.pack_into("<H", content, start + at, flags | 1)
    path.write_bytes(content)
    assert "holds model.tflite encrypted; pack it again without a password" in refused(path)
    assert "is a folder; pack it" in refused(tmp_path)
    assert "does not exist; name the zip" in refused(tmp_path / "none.zip")
    path.write_bytes(packed(path).read_bytes()[:200])
    assert "is no whole zip" in squares.refused("submit", "--check", "M3_9.zip", folder=tmp_path)


@settings(max_examples=200)
@given(st.data())
def test_a_zip_with_a_changed_byte_is_unpacked_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in HAND.items():
            archive.writestr(name, content)
    damaged = bytearray(buffer.getvalue())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    folder = tmp_path_factory.mktemp("changed")
    (folder / "M3_9.zip").write_bytes(damaged)
    try:
        unpack(folder / "M3_9.zip", folder / "out")
    except UsageError as error:
        assert "\n" not in str(error)
