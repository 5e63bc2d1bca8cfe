"""`thrones submit`: the three zips, and what is refused before one is written."""

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import squares
from conftest import Finished
from grid_study import write_grid
from submissions import Files, rewrite, wrong
from test_reproduce import QUICK
from videos import write_video

from search.submission.pack import with_relative_base
from search.submission.reproduction import Reproduction

pytestmark = pytest.mark.slow

TEAM = ("--team", "7", "--members", "Ann Arbor, Bob Dylan")


def test_the_zip_holds_the_measured_bytes_one_slide_the_code_and_three_commands(submitted: Path) -> None:
    with zipfile.ZipFile(submitted / "M3_7.zip") as archive:
        names = set(archive.namelist())
        own = {name for name in names if not name.startswith("code/")}
        replay = submitted / "runs" / "squares" / "replay"
        assert own == {*(path.name for path in replay.iterdir()), "M3_7.pptx", "REPRODUCE.md"}
        assert archive.read("model.tflite") == (replay / "model.tflite").read_bytes()
        code = {"pyproject.toml", "search/cli/app.py", "compress/prune.py", "edge/devices/local.py"}
        assert {f"code/{name}" for name in code} <= names
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


def test_what_is_missing_is_named_and_nothing_is_written(finished: Finished, tmp_path: Path) -> None:
    squares_study = finished.folder / "squares.toml"

    def refused(*arguments: str) -> str:
        return squares.refused("submit", *arguments, folder=tmp_path)

    write_grid(tmp_path, rows=5)
    shutil.copy(finished.folder / "squares.npz", tmp_path)
    for name in ("m1", "latency"):
        path = tmp_path / "studies" / f"{name}.toml"
        path.write_text((path if path.exists() else squares_study).read_text().replace('"cifar10"', '"squares.npz"'))
    assert "11 rows missing, the first: fraction 0.25 with 3 epochs" in refused("m1", *TEAM)
    assert "team '7/8' must be" in refused("m1", "--team", "7/8", "--members", "Ann")
    assert "--team and --members are missing" in refused("m1", "--team", "7")
    assert "--road is missing" in refused("m3", *TEAM)
    assert "submit takes m1, m2 or m3, got 'm4'" in refused("m4", *TEAM)
    assert "--road latency is for m3 alone" in refused("m1", *TEAM, "--road", "latency")
    assert "model.tflite is missing; `thrones replay studies/latency.toml`" in refused("m3", *TEAM, "--road", "latency")
    assert "--members ' ' must be names" in refused("m1", "--team", "7", "--members", " ")
    assert "--members 'Ann\\x07' must be names" in refused("m1", "--team", "7", "--members", "Ann\x07")
    assert "--out squares.npz is a file; name the folder" in refused("m1", *TEAM, "--out", "squares.npz")
    assert not list(tmp_path.glob("*.zip"))


def test_a_replay_that_the_rules_do_not_allow_is_not_packed(submitted: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(submitted, tmp_path / "squares"))
    kept = folder / "runs" / "squares" / "replay" / "results.json"
    whole = Reproduction.from_json(kept.read_text())
    quick = replace(whole.runs[0].plan, name="search", passes=0)
    for found, words in (
        (replace(whole, runs=whole.runs[:1]), "has 1 run over the test set, the rules ask for 3"),
        (replace(whole, runs=tuple(replace(run, plan=quick) for run in whole.runs)), "plan search makes no pass"),
    ):
        kept.write_text(found.to_json())
        assert words in squares.refused("submit", "m3", "--road", "squares", *TEAM, folder=folder)
    kept.write_text('{"road": "banana"}')
    assert "no stored replay" in squares.refused("submit", "m3", "--road", "squares", *TEAM, folder=folder)


def test_a_replay_of_another_model_than_the_study_s_best_is_doubtful(submitted: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(submitted, tmp_path / "squares"))
    replayed = squares.thrones("replay", "squares", *QUICK, "--no-rebuild", "--trial", "1", folder=folder)
    assert replayed.returncode == 0, replayed.stderr
    ended = squares.thrones("submit", "m3", "--road", "squares", *TEAM, folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert "of another model than the best now, trial 2 of runs/squares/study.db: replay again" in ended.stdout


def test_a_team_s_own_base_is_packed_and_named_in_the_study_file(submitted: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(submitted, tmp_path / "squares"))
    (folder / "mine").mkdir()
    (folder / "mine" / "own.npz").write_bytes(b"weights")
    given = ("--base", "mine/own.npz")
    ended = squares.thrones("submit", "m3", "--road", "squares", *TEAM, *given, folder=folder)
    assert ended.returncode == 0, ended.stderr
    with zipfile.ZipFile(folder / "M3_7.zip") as archive:
        assert archive.read("own.npz") == b"weights"
        assert archive.read("squares.toml").decode().startswith('base = "own.npz"\n')
    config = squares.read(folder / "studies" / "squares.toml").model_copy(update={"base": "far/away.npz"})
    assert with_relative_base(config, 'road = "fom"\nbase = "x/y.npz"\n') == 'road = "fom"\nbase = "away.npz"\n'
    missing = squares.refused("submit", "m3", "--road", "squares", *TEAM, "--base", "no.npz", folder=folder)
    assert "base no.npz of study squares does not exist" in missing


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
    assert wrong(path) == {}

    def edit(files: Files) -> None:
        lines = files["table.csv"].splitlines()
        files["table.csv"] = b"\n".join([*lines[:3], lines[3].replace(b",", b",1", 1), *lines[4:]])

    rewrite(path, edit)
    assert wrong(path) == {"table.csv": "line 4 is not what was measured, pack what was measured"}

    def for_the_other(files: Files) -> None:
        """Table 1 handed in as Table 2, or the other way round."""
        files[f"{other}_7.pptx"] = files.pop(f"{name}_7.pptx")

    other = {"M1": "M2", "M2": "M1"}[name]
    rewrite(path, for_the_other)
    moved = path.rename(path.with_name(f"{other}_7.zip"))
    assert "required rows missing, the first: fraction 0" in wrong(moved)[f"Table {other[1]}"]
