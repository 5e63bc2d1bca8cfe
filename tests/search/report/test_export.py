"""`thrones best --results`: a study's winner as a folder for the repository."""

import csv
import json
import platform
import re
import shutil
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import optuna
import pytest
import squares
from small_study import COMPARISON, HOST, MODEL, SPEC, TRIALS, export_winner, failed, trial, write_study

from compress.errors import UsageError
from compress.spec import CompressionSpec
from search.report import export
from search.storage.study_record import FinalComparison

FILES = ["model.tflite", "report.html", "result.json", "spec.json", "table.md", "trials.csv"]


@dataclass(frozen=True)
class Kept:
    """A folder that `thrones best --results` has written, and what it said."""

    place: Path
    said: str
    result: dict[str, Any]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """What is kept of TRIALS. It is for reading."""
    folder = write_study(tmp_path_factory.mktemp("kept"), TRIALS, COMPARISON)
    said = best(folder)
    place = folder / "results" / "small"
    return Kept(place, said, json.loads((place / "result.json").read_text()))


@pytest.fixture
def folder(tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, and the working directory: the study, and what was kept of it in results/small."""
    copied = Path(shutil.copytree(kept.place.parents[1], tmp_path / "copied"))
    monkeypatch.chdir(copied)
    return copied


def best(folder: Path, *arguments: str) -> str:
    """What `thrones best --results results/small` prints."""
    ended = squares.thrones("best", "studies/small.toml", "--results", "results/small", *arguments, folder=folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.slow
def test_the_folder_has_what_was_measured_and_what_it_is(kept: Kept) -> None:
    place, result = kept.place, kept.result
    assert f"wrote results/small: {', '.join(FILES)}" in kept.said
    assert sorted(path.name for path in place.iterdir()) == FILES
    assert (place / "model.tflite").read_bytes() == MODEL
    assert CompressionSpec.from_dict(json.loads((place / "spec.json").read_text())) == SPEC
    assert (result["name"], result["road"], result["trial"]) == ("small", "latency", 3)
    assert (result["data"], result["base"], result["seed"]) == ("cifar10", "0123456789abcdef", 0)
    assert (result["rule_percent"], result["required_percent"]) == (70.0, 71.5)
    assert result["sha256"] == sha256(MODEL).hexdigest()
    assert result["accuracy_percent"] == {"validation": 72.1, "test": 71.02, "base_test": 90.8}
    assert result["latency_ms"] == {"base": 0.9, "best": 0.006, "ratio": pytest.approx(150)}
    assert result["energy_mj"] == {"base": 48.0, "best": 48.0, "ratio": 1.0, "estimated": True}
    assert result["fom"]["ratio"] == pytest.approx(150 * 71.02 / 90.8)
    assert result["macs"]["best"] == SPEC.architecture().macs < result["macs"]["base"]
    assert result["parameters"]["best"] == SPEC.architecture().parameters
    assert result["bytes"]["best"] == len(MODEL)
    assert result["peak_memory_mb"]["best"] == 48.0
    assert result["command"] == "thrones run studies/small.toml"
    assert set(result["versions"]) == {"thrones", "optuna", "tensorflow"}
    assert result["versions"]["optuna"] == optuna.__version__


def test_the_time_counts_from_the_first_trial_and_only_what_keeps_the_rule_has_reached_a_speed(kept: Kept) -> None:
    assert kept.result["trials"] == {"all": 5, "fail": 1, "complete": 4, "complete and accurate enough": 3}
    assert kept.result["time"] == {
        "seconds_of_all_trials": 2 + 4 * 61.5,
        "wall_minutes": 120.0,
        "best_found_after_minutes": 100.5,
        "speedup_reached_after_minutes": {"60": 30.0, "130": 100.5},
    }


@pytest.mark.parametrize(("road", "reached"), [("latency", {"60": 9.0, "130": None}), ("fom", None)])
def test_a_speed_that_was_never_reached_and_a_road_without_one(
    road: str, reached: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_study(tmp_path, (trial((0, 9), 0.012),), replace(COMPARISON, trial=0), road))
    export_winner()
    time = json.loads(Path("results/small/result.json").read_text())["time"]
    assert time.get("speedup_reached_after_minutes") == reached


def test_the_table_is_that_of_the_terminal_as_markdown(kept: Kept) -> None:
    lines = (kept.place / "table.md").read_text().splitlines()
    assert lines[:5] == [
        "# small",
        "",
        "|  | best (trial 3) | unpruned base | best against base |",
        "| --- | ---: | ---: | --- |",
        "| test accuracy [%] | 71.02 test | 90.80 test | -19.78 points |",
    ]
    assert "| latency, median [ms] | 0.00600 | 0.900 | 150 x faster |" in lines
    assert "150 x faster than the unpruned base at 71.02 % test accuracy." in lines
    assert "est.: from an assumed power, not measured." in lines


def test_report_and_trials(kept: Kept) -> None:
    page = (kept.place / "report.html").read_text()
    assert len(page) < export.MAX_PAGE_BYTES
    assert "report.html there has its tables but no charts" in kept.said
    assert export.NO_CHARTS in page and "150 x faster" in page
    with (kept.place / "trials.csv").open() as file:
        assert [row["number"] for row in csv.DictReader(file)] == ["0", "1", "2", "3", "4"]


def test_nothing_names_the_machine(kept: Kept) -> None:
    texts = {path.name: path.read_bytes().decode(errors="replace") for path in kept.place.iterdir()}
    for name, text in texts.items():
        for word in (HOST, "anna", "pi.example", "/home", str(kept.place.parents[1])):
            assert word not in text, (name, word)
    result = kept.result
    assert "host" not in result["environment"]
    assert result["environment"]["os"] == "Debian GNU/Linux 12"
    assert (result["device"], result["meter"]) == ("ssh:", "estimate://4.8W")
    assert result["study"] == 'road = "latency"  # a study\n'


@pytest.mark.slow
def test_a_second_call_replaces_the_folder(folder: Path) -> None:
    place = folder / "results" / "small"
    first = {path.name: path.read_bytes() for path in place.iterdir()}
    (place / "model.tflite").write_bytes(b"old")
    (place / "left over").touch()
    assert json.loads(best(folder, "--json"))["best_trial"] == 3, "nothing but JSON is printed"
    assert {path.name: path.read_bytes() for path in place.iterdir()} == first
    assert [path.name for path in place.parent.iterdir()] == ["small"], "no unfinished folder stays"


@pytest.mark.slow
def test_a_folder_of_somebody_else_is_left_alone(folder: Path) -> None:
    place = folder / "results" / "small"
    shutil.rmtree(place)
    place.mkdir()
    (place / "thesis.txt").write_text("years of work")
    line = squares.refused("best", "studies/small.toml", "--results", "results/small", folder=folder)
    assert line.startswith("thrones: results/small exists and holds no result.json; name a new folder")
    assert [path.name for path in place.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "where", ["search.report.export._write_page", "search.report.export.write_csv", "pathlib.Path.rename"]
)
def test_a_folder_appears_whole_or_not_at_all(where: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, rename = folder / "results" / "small", Path.rename
    (place / "model.tflite").write_bytes(b"old")

    def full(*_: object) -> NoReturn:
        raise OSError("disk full")

    def once(path: Path, to: Path) -> Path:
        return full() if path.name == "new" else rename(path, to)

    with monkeypatch.context() as broken:
        broken.setattr(where, once if where == "pathlib.Path.rename" else full)
        with pytest.raises(OSError, match="disk full"):
            export_winner()
    assert (place / "model.tflite").read_bytes() == b"old"
    assert [path.name for path in place.parent.iterdir()] == ["small"]


def test_a_page_that_is_too_large_without_its_charts_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_PAGE_BYTES", 1000)
    wrote, why = export_winner("new/small")
    assert "report.html" not in wrote and not (folder / "new" / "small" / "report.html").exists()
    assert why.startswith("no report.html there: without its charts it still has 0.")


@pytest.mark.slow
def test_no_trial_that_keeps_the_rule_is_one_line(tmp_path: Path) -> None:
    folder = write_study(tmp_path, (failed("slow"), trial((1, 2), 0.01, constraint_violation=0.1)), None)
    line = squares.refused("best", "studies/small.toml", "--results", "results/small", folder=folder)
    assert line.startswith("thrones: studies/small.toml: no trial meets the accuracy constraint yet")
    assert not (folder / "results").exists()


@pytest.mark.parametrize("comparison", [None, replace(COMPARISON, trial=2)], ids=["none", "of an earlier best"])
def test_no_comparison(comparison: FinalComparison | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_study(tmp_path, TRIALS, comparison))
    with pytest.raises(UsageError, match="not been compared with the base yet; `thrones run studies/small.toml` does"):
        export_winner()
    assert not Path("results").exists()


def test_a_model_that_is_not_the_measured_one_is_not_handed_over(folder: Path) -> None:
    path = folder / "runs" / "small" / "artifacts" / "the-model"
    path.write_bytes(MODEL + b"\0")
    with pytest.raises(UsageError, match="has changed since it was measured"):
        export_winner()
    path.unlink()
    with pytest.raises(UsageError, match="the-model is gone"):
        export_winner()


@pytest.mark.slow
def test_a_real_study(squares_copy: Path) -> None:
    ended = squares.thrones("best", "squares.toml", "--results", "kept", folder=squares_copy)
    assert (ended.returncode, ended.stderr) == (0, "")
    result = json.loads((squares_copy / "kept" / "result.json").read_text())
    model = (squares_copy / "kept" / "model.tflite").read_bytes()
    assert sha256(model).hexdigest() == result["sha256"]
    assert len(result["base"]) == 16 and result["time"]["wall_minutes"] > 0
    host = rf"\b{re.escape(platform.node())}\b"
    for path in (squares_copy / "kept").iterdir():
        content = path.read_bytes()
        assert re.findall(rb"/tmp/|/home/|/root\b", content) == [], path.name
        if path.suffix != ".tflite":  # among the bytes of weights a short host name turns up by chance
            assert re.findall(host, content.decode()) == [], path.name
