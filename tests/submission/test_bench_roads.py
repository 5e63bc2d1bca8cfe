"""bench_roads.py: the winners in the repository against the targets and against their own claims."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import bench_roads
import numpy as np
import pytest
from paths import ROOT
from small_study import COMPARISON, MODEL, TRIALS, export_winner, measured, write_study

from compress.errors import UsageError
from edge.comparison import Entry
from edge.devices.local import LocalDevice
from edge.measuring.plan import PLANS
from search.report.exported_result import RESULT_FILE, ExportedResult


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported winner of a small study. For reading."""
    folder = write_study(tmp_path_factory.mktemp("kept"), TRIALS, COMPARISON)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        export_winner()
    return folder / "results" / "small"


def entry(latency_ms: float, accuracy_percent: float) -> Entry:
    """A model as `edge.comparison` gives it back, its energy by its latency."""
    one = measured(latency_ms)
    window = replace(one.windows[0], end_s=latency_ms)  # 1000 images in so many seconds
    return Entry("", "raw", (replace(one, windows=(window,)),), accuracy_percent)


BASE = entry(0.9, 90.8)


@pytest.fixture
def winners(kept: Path, tmp_path: Path) -> Path:
    """A folder in which the road latency has a winner."""
    shutil.copytree(kept, tmp_path / "winners" / "latency")
    return tmp_path / "winners"


def words(rows: list[bench_roads.Row]) -> list[str]:
    return [row.word for row in rows]


def test_a_winner_is_held_against_targets_and_claims(winners: Path) -> None:
    (road, found), *others = bench_roads.read_winners(winners).items()
    assert (road, found.model, found.threads, others) == ("latency", MODEL, 1, [])
    assert words(bench_roads.rows_of(found, BASE, entry(0.0061, 71.02))) == ["ok", "ok", "ok", "ok"]
    assert words(bench_roads.rows_of(found, BASE, entry(0.0071, 71.02))) == ["ok", "MISS", "ok", "differs"]
    assert words(bench_roads.rows_of(found, BASE, entry(0.006, 71.03))) == ["ok", "ok", "MISS", "ok"]
    assert words(bench_roads.rows_of(found, BASE, entry(0.006, 70.49))) == ["MISS", "ok", "MISS", "ok"]
    assert words(bench_roads.rows_of_time(found.claim.time)) == ["ok", "ok"]
    late = found.claim.time.model_copy(update={"speedup_reached_after_minutes": {"60": 45.1, "130": None}})
    rows = bench_roads.rows_of_time(late)
    assert [(row.word, row.reached) for row in rows] == [("MISS", "45.1 min"), ("MISS", "never")]


@pytest.mark.parametrize(("road", "ratio"), [("energy", 150.0), ("fom", 150.0**2 * 71.02 / 90.8)])
def test_the_other_roads_have_their_own_ratio(road: str, ratio: float, winners: Path) -> None:
    found = replace(bench_roads.read_winners(winners)["latency"], road=road)
    rows = bench_roads.rows_of(found, BASE, entry(0.006, 71.02))
    assert (rows[1].word, rows[1].reached) == ("ok", f"{ratio:,.1f} x")
    assert rows[1].what.endswith(", est.")


def test_the_whole_bench(winners: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def measure(asked: list[bench_roads.Winner], *_: object) -> tuple[Entry, list[Entry]]:
        return BASE, [entry(0.006, 71.02) for _ in asked]

    monkeypatch.setattr(bench_roads, "measure_winners", measure)
    monkeypatch.setattr("compress.datasets.load.load", lambda *_: None)
    assert bench_roads.main(["--results", str(winners)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("MISS")] == [["MISS", "energy"], ["MISS", "fom"]]
    assert sum(line.startswith("ok ") for line in lines) == 6
    for road in ("energy", "fom"):
        shutil.copytree(winners / "latency", winners / road)
    monkeypatch.setattr(bench_roads, "LEAST_RATIO", dict.fromkeys(bench_roads.ROADS, 100.0))
    assert bench_roads.main(["--results", str(winners)]) == 0, "energy's and fom's claims only differ"


def test_models_run_with_their_own_threads(winners: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(LocalDevice, "measure", lambda device, model, plan, *_: asked.append(plan.threads))
    images = np.zeros((1, 32, 32, 3), np.uint8)
    with bench_roads.Threaded([replace(bench_roads.read_winners(winners)["latency"], threads=2)]) as device:
        for model in (MODEL, b"TFL3 the base"):
            device.measure(model, PLANS["short"], images)
    assert asked == [2, 1]


def test_nothing_was_run_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_roads.main(["--results", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 5
    assert all(line.startswith("MISS") and line.endswith("not run yet") for line in lines)


def test_a_winner_that_is_not_whole(winners: Path) -> None:
    (winners / "latency" / "model.tflite").write_bytes(b"another")
    with pytest.raises(UsageError, match="another sha256"):
        bench_roads.read_winners(winners)
    (winners / "latency" / "result.json").unlink()
    with pytest.raises(UsageError, match=r"write it again with `thrones best --results"):
        bench_roads.read_winners(winners)


def test_without_cifar10_the_bench_ends_with_one_line(winners: Path) -> None:
    command = [sys.executable, "tests/experiments/bench_roads.py", "--results", str(winners), "--data", "nowhere"]
    environment = {**os.environ, "PYTHONPATH": ".:tests/support"}  # as the Makefile has it
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("thrones: --data: nowhere does not exist") and ended.stderr.count("\n") == 1


def test_the_readme_has_the_table_that_the_winners_give(winners: Path) -> None:
    ours = bench_roads.markdown(bench_roads.read_winners(winners)).splitlines()
    device = "A CPU @ 2.0 GHz, power assumed"
    assert ours[2] == f"| thrones, road latency | 71.02 | 0.006 | 48 | 246.6 | 150.0 x | {device} |"
    assert ours[5] == f"| thrones, unpruned base, float | 90.80 | 0.9 | 48 | 2.102 | 1 x | {device} |"
    readme = (ROOT / "README.md").read_text()
    shown = readme.split("<!-- winners: make bench-roads OPTIONS=--markdown -->\n")[1].split("\n<!-- end")[0]
    given = bench_roads.markdown(bench_roads.read_winners(bench_roads.RESULTS))
    assert shown == given, "put what `make bench-roads OPTIONS=--markdown` prints into the README"


@pytest.mark.parametrize("road", bench_roads.ROADS)
def test_the_results_in_the_repository_are_read_and_written_as_they_are(road: str) -> None:
    text = (bench_roads.RESULTS / road / RESULT_FILE).read_text(encoding="utf-8")
    assert ExportedResult.from_json(text).to_json() == text


def test_a_damaged_result_is_refused_in_one_line(winners: Path) -> None:
    path = winners / "latency" / RESULT_FILE
    text = path.read_text()
    for damaged, reason in (
        (text[:100], "Invalid JSON"),
        ("[]", "Input should be an object"),
        (text.replace('"sha256"', '"md5"'), "sha256: Field required"),
        (text.replace('"road": "latency"', '"road": 7'), "road: Input should be a valid string"),
    ):
        path.write_text(damaged)
        with pytest.raises(UsageError, match=r"result\.json: no exported result .*; write it again with") as caught:
            ExportedResult.read(path)
        assert reason in str(caught.value) and "\n" not in str(caught.value)
