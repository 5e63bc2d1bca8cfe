"""`thrones submit` and `submit --check`: the three zips, and what is wrong with a damaged one."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import models
import numpy as np
import pytest
import squares
from conftest import Finished
from grid_study import write_grid
from hasty import HASTY
from pptx import Presentation
from test_replay import QUICK

import edge
from compress.data import load
from compress.errors import UsageError
from edge.check import WRONG, Finding
from search.milestones.submit import check_zip
from search.milestones.video import check_video

TEAM = ("--team", "7", "--members", "Ann Arbor, Bob Dylan")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, plan in HASTY.items():
        monkeypatch.setitem(edge.PLANS, name, plan)


@pytest.fixture(scope="module")
def submitted(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a replayed study and the M3_7.zip made of it. For reading."""
    folder = Path(shutil.copytree(finished.folder, tmp_path_factory.mktemp("submitted") / "squares"))
    (folder / "studies").mkdir()
    shutil.move(folder / "squares.toml", folder / "studies" / "squares.toml")
    assert squares.thrones("replay", "squares", *QUICK, "--no-rebuild", folder=folder).returncode == 0
    ended = squares.thrones("submit", "m3", "--road", "squares", *TEAM, folder=folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("wrote M3_7.zip\n")
    return folder


@pytest.fixture
def folder(submitted: Path, tmp_path: Path) -> Path:
    """The images, and M3_7.zip to damage."""
    for name in ("squares.npz", "M3_7.zip"):
        shutil.copy(submitted / name, tmp_path)
    return tmp_path


def test_the_zip_holds_the_measured_bytes_one_slide_the_code_and_three_commands(submitted: Path) -> None:
    with zipfile.ZipFile(submitted / "M3_7.zip") as archive:
        names = set(archive.namelist())
        own = {name for name in names if not name.startswith("code/")}
        replay = submitted / "runs" / "squares" / "replay"
        assert own == {*(path.name for path in replay.iterdir()), "M3_7.pptx", "REPRODUCE.md"}
        assert archive.read("model.tflite") == (replay / "model.tflite").read_bytes()
        assert {"code/pyproject.toml", "code/search/cli.py", "code/compress/prune.py", "code/edge/local.py"} <= names
        commands = archive.read("REPRODUCE.md").decode().split("```")[1].strip().splitlines()
        assert commands == [
            "python3 -m venv venv && venv/bin/pip install './code[search]'",
            "venv/bin/thrones measure model.tflite --plan final",
            "venv/bin/thrones replay .",
        ]
    assert not list(submitted.glob(".*")) + list(submitted.glob("tmp*"))


def test_the_commands_of_reproduce_md_run(submitted: Path, tmp_path: Path) -> None:
    """But for the first, which installs: `make test` has done that."""
    with zipfile.ZipFile(submitted / "M3_7.zip") as archive:
        archive.extractall(tmp_path)
    shutil.copy(submitted / "squares.npz", tmp_path)
    squares.lend_base(submitted, tmp_path / "runs")
    measured = squares.thrones("measure", "model.tflite", "--plan", "search", folder=tmp_path)
    assert measured.returncode == 0, measured.stderr
    replayed = squares.thrones("replay", ".", *QUICK, folder=tmp_path)
    assert replayed.returncode == 0, replayed.stderr
    assert "the same bytes" in replayed.stdout


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """The zip again after a change of its files."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in files.items():
            archive.writestr(name, value)


def another_model(files: dict[str, bytes]) -> None:
    files["model.tflite"] = models.float_model()


def broken_model(files: dict[str, bytes]) -> None:
    files["model.tflite"] = files["model.tflite"][: len(files["model.tflite"]) // 2]


def no_model(files: dict[str, bytes]) -> None:
    del files["model.tflite"]


def two_models(files: dict[str, bytes]) -> None:
    files["other.tflite"] = files["model.tflite"]


def no_code(files: dict[str, bytes]) -> None:
    for name in [name for name in files if name.startswith("code/")]:
        del files[name]


def half_the_code(files: dict[str, bytes]) -> None:
    for name in [name for name in files if name.startswith("code/compress/")]:
        del files[name]


def no_slide(files: dict[str, bytes]) -> None:
    del files["M3_7.pptx"]


def edit_slides(files: dict[str, bytes], change: Callable[[Presentation], None], folder: Path) -> None:
    path = folder / "edited.pptx"
    path.write_bytes(files["M3_7.pptx"])
    presentation = Presentation(str(path))
    change(presentation)
    presentation.save(str(path))
    files["M3_7.pptx"] = path.read_bytes()


def edit_number(presentation: Presentation) -> None:
    (table,) = [shape.table for shape in presentation.slides[0].shapes if shape.has_table]
    table.cell(1, 2).text_frame.paragraphs[0].runs[0].text = "0.0001"


def add_slide(presentation: Presentation) -> None:
    presentation.slides.add_slide(presentation.slide_layouts[6])


def edited_results(files: dict[str, bytes]) -> None:
    """A better accuracy in the raw figures alone."""
    claim = json.loads(files["results.json"])
    claim["test_accuracy_percent"] = claim["test_accuracy_percent"] / 2
    files["results.json"] = json.dumps(claim).encode()


def edited_window(files: dict[str, bytes]) -> None:
    claim = json.loads(files["results.json"])
    for window in claim["runs"][0]["windows"]:
        window["invoke_s"] /= 10
    files["results.json"] = json.dumps(claim).encode()


def no_json(files: dict[str, bytes]) -> None:
    files["results.json"] = b"{}"


def higher_rule(files: dict[str, bytes]) -> None:
    files["squares.toml"] = files["squares.toml"].replace(b"accuracy_percent = 60", b"accuracy_percent = 99.99")


DAMAGE: list[tuple[Callable[[dict[str, bytes]], None], str]] = [
    (another_model, "the figures are of"),
    (broken_model, "save the model that was measured"),
    (no_model, "0 .tflite files"),
    (two_models, "2 .tflite files"),
    (no_code, "no .py file"),
    (half_the_code, "code/compress is missing"),
    (no_slide, "0 .pptx files"),
    (edited_results, "% claimed"),
    (edited_window, "is not what was measured"),
    (no_json, "no stored replay"),
]


def found(path: Path) -> list[Finding]:
    """What `thrones submit --check` finds, in this process."""
    return list(check_zip(path, path.parent / "runs", lambda _: load(str(path.parent / "squares.npz"))))


def wrong(path: Path) -> str:
    """What is wrong, in one line."""
    return "; ".join(f"{each.what}: {each.found}, {each.remedy}" for each in found(path) if each.verdict == WRONG)


@pytest.mark.parametrize(("damage", "words"), DAMAGE, ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_zip_fails_with_the_reason(
    damage: Callable[[dict[str, bytes]], None], words: str, folder: Path
) -> None:
    rewrite(folder / "M3_7.zip", damage)
    assert words in wrong(folder / "M3_7.zip")


@pytest.mark.parametrize(
    ("change", "words"), [(edit_number, "says 0.0001, measured was"), (add_slide, "the rules want exactly one slide")]
)
def test_an_edited_presentation_fails_with_the_reason(
    change: Callable[[Presentation], None], words: str, folder: Path
) -> None:
    rewrite(folder / "M3_7.zip", lambda files: edit_slides(files, change, folder))
    assert words in wrong(folder / "M3_7.zip")


def test_a_whole_zip_passes_and_one_misnamed_or_below_the_rule_does_not(folder: Path) -> None:
    assert wrong(folder / "M3_7.zip") == ""
    shutil.copy(folder / "M3_7.zip", folder / "milestone3.zip")
    assert "M1_, M2_ or M3_<team>.zip" in wrong(folder / "milestone3.zip")
    rewrite(folder / "M3_7.zip", higher_rule)
    ended = squares.thrones("submit", "--check", "M3_7.zip", folder=folder)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "the road asks for 99.99 %" in ended.stdout


def test_what_is_no_zip_or_would_write_elsewhere_is_refused(folder: Path) -> None:
    whole = (folder / "M3_7.zip").read_bytes()
    (folder / "M3_8.zip").write_bytes(whole[: len(whole) // 2])
    assert "is no whole zip" in squares.refused("submit", "--check", "M3_8.zip", folder=folder)
    with pytest.raises(UsageError, match="does not exist"):
        found(folder / "M3_9.zip")
    rewrite(folder / "M3_7.zip", lambda files: files.update({"../evil.py": b""}))
    with pytest.raises(UsageError, match="would be written elsewhere"):
        found(folder / "M3_7.zip")


def test_a_submission_made_by_hand_is_checked_by_its_slide(folder: Path) -> None:
    def by_hand(files: dict[str, bytes]) -> None:
        for name in [*files]:
            if name not in ("model.tflite", "M3_7.pptx", "squares.toml", "code/edge/local.py"):
                del files[name]

    rewrite(folder / "M3_7.zip", by_hand)
    assert "FoM" in [each.what for each in found(folder / "M3_7.zip")]
    assert wrong(folder / "M3_7.zip") == ""
    rewrite(folder / "M3_7.zip", lambda files: edit_slides(files, edit_number, folder))
    assert "compute it from the same row" in wrong(folder / "M3_7.zip")


def test_what_is_missing_is_named_and_nothing_is_written(finished: Finished, tmp_path: Path) -> None:
    squares_study = finished.folder / "squares.toml"

    def refused(*arguments: str) -> str:
        return squares.refused("submit", *arguments, folder=tmp_path)

    write_grid(tmp_path, rows=5)
    shutil.copy(finished.folder / "squares.npz", tmp_path)
    for name in ("m1", "latency"):
        path = tmp_path / "studies" / f"{name}.toml"
        path.write_text((path if path.exists() else squares_study).read_text().replace('"cifar10"', '"squares.npz"'))
    assert "11 rows are missing, the first: fraction 0.25 with 3 epochs" in refused("m1", *TEAM)
    assert "team '7/8' must be" in refused("m1", "--team", "7/8", "--members", "Ann")
    assert "--team and --members are missing" in refused("m1", "--team", "7")
    assert "--road is missing" in refused("m3", *TEAM)
    assert "submit takes m1, m2 or m3, got 'm4'" in refused("m4", *TEAM)
    assert "--road latency is for m3 alone" in refused("m1", *TEAM, "--road", "latency")
    assert "results.json is missing; `thrones replay studies/latency.toml`" in refused("m3", *TEAM, "--road", "latency")
    assert not list(tmp_path.glob("*.zip"))


def write_video(path: Path, seconds: int, codec: str = "mpeg4") -> Path:
    """A black film."""
    with av.open(str(path), "w") as container:
        rate = 25 if codec.startswith("mpeg") else 1  # MPEG knows no other
        stream = container.add_stream(codec, rate=rate)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(seconds * rate):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "mpeg4"), ("a.mov", "mpeg4"), ("a.avi", "mpeg4"), ("a.wmv", "wmv2"), ("a.mpeg", "mpeg1video")],
)
def test_each_format_of_the_rules_is_taken(name: str, codec: str, tmp_path: Path) -> None:
    assert 0 < check_video(write_video(tmp_path / name, 3, codec)) <= 3.1


def test_a_video_too_long_of_another_format_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lasts 250 s, the rules allow 240 s"):
        check_video(write_video(tmp_path / "long.wmv", 250, "wmv2"))
    film = write_video(tmp_path / "film.avi", 2)
    with pytest.raises(UsageError, match=r"ends in .mp4 but holds avi"):
        check_video(film.rename(tmp_path / "film.mp4"))
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(UsageError, match="cannot be played"):
        check_video(tmp_path / "text.mp4")
    with pytest.raises(UsageError, match=r"the rules allow .avi.*, not .gif"):
        check_video(tmp_path / "film.gif")
    with pytest.raises(UsageError, match="does not exist"):
        check_video(tmp_path / "none.mp4")


@pytest.mark.parametrize("milestone", ["m1", "m2"])
def test_the_zips_of_tables_1_and_2(milestone: str, tmp_path: Path, squares_copy: Path) -> None:
    shutil.copy(squares_copy / "squares.npz", tmp_path)
    for name in ("m1", "m2"):
        path = write_grid(tmp_path, name)
        path.write_text(path.read_text().replace('"cifar10"', '"squares.npz"'))
    write_video(tmp_path / "demo.mp4", 3)
    ended = squares.thrones("submit", milestone, *TEAM, "--video", "demo.mp4", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    name = milestone.upper()
    path = tmp_path / f"{name}_7.zip"
    with zipfile.ZipFile(path) as archive:
        own = {each for each in archive.namelist() if not each.startswith("code/")}
    assert own == {
        "table.md", "table.csv", "results.json", f"{name}_7.pptx", f"{milestone}.toml", f"{name}_7.mp4", "REPRODUCE.md"
    }  # fmt: skip
    assert wrong(path) == ""

    def edit(files: dict[str, bytes]) -> None:
        lines = files["table.csv"].splitlines()
        files["table.csv"] = b"\n".join([*lines[:3], lines[3].replace(b",", b",1", 1), *lines[4:]])

    rewrite(path, edit)
    assert "line 4 is not what was measured" in wrong(path)
