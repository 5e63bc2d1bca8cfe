"""`thrones best --results`: a study's winner as a folder for the repository; and what bench_roads.py makes of it."""

import csv
import json
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import bench_roads
import models
import numpy as np
import optuna
import pytest
import squares
from paths import ROOT

import edge
from compress.errors import UsageError
from compress.spec import CompressionSpec
from edge.comparison import Entry
from search.config import load_config
from search.report import export as winner
from search.report.load_results import collect
from search.storage.study_state import load_study, open_storage

FILES = ["model.tflite", "report.html", "result.json", "spec.json", "table.md", "trials.csv"]
HOST = "secret-machine"
START = datetime(2024, 1, 1, 12)
MODEL = models.float_model()
SPEC = CompressionSpec(fractions=(0.5,) * 14, dropped_blocks=(7, 8), stem_stride=2, epochs=12)


def measured(latency_ms: float, model: bytes = MODEL, plan: str = "final") -> edge.Measurement:
    """A measurement of one window, with a power of 4.8 W that is assumed."""
    return edge.Measurement(
        sha256=sha256(model).hexdigest(),
        model_bytes=len(model),
        plan=edge.PLANS[plan],
        windows=(edge.Window(0.0, 10.0, 1000, latency_ms, latency_ms, latency_ms * 1.1, 4.8, 4.8),),
        peak_memory_mb=48.0,
        memory_growth_mb=1.0,
        load_ms=1.0,
        environment=edge.Environment(
            HOST, "x86_64", "A CPU @ 2.0 GHz", 2, "Debian GNU/Linux 12", "3.12.1", "ai-edge-litert 2.3.0", "XNNPACK",
            None, None, None, None,
        ),
        device="ssh://anna@pi.example",
        meter="estimate://4.8W",
        estimated=True,
    )  # fmt: skip


def stored(measurement: edge.Measurement) -> dict[str, Any]:
    """As the study keeps it."""
    return dict(json.loads(measurement.to_json()))


def trial(
    minutes: tuple[float, float], latency_ms: float, shortfall: float = -1.0, **attrs: object
) -> optuna.trial.FrozenTrial:
    """A complete trial, begun and ended so many minutes after the study."""
    candidate = {"sha256": sha256(MODEL).hexdigest(), "bytes": len(MODEL), "operators": {}, "accuracy_percent": 72.1}
    about = {
        "spec": SPEC.to_dict(),
        "seconds": {"structure": 2.0, "train and convert": 58.0, "measure": 1.5},
        "measurement": stored(measured(latency_ms, plan="search")),
        "candidate": candidate,
        "shortfall": shortfall,
        "constraint": shortfall,
        "artifact model.tflite": "the-model",
        **attrs,
    }
    made = optuna.trial.create_trial(value=latency_ms, user_attrs=about)
    made.datetime_start, made.datetime_complete = (START + timedelta(minutes=minute) for minute in minutes)
    return made


def failed(reason: str) -> optuna.trial.FrozenTrial:
    """A trial that a fault ended."""
    about = {
        "spec": SPEC.to_dict(),
        "phases": [["structure", START.timestamp(), 1.5], ["measure structure", START.timestamp() + 1.5, 0.5]],
        "structure": {"device": "ssh://anna@pi.example"},
        "worker": f"{HOST}:7",
        "reason": reason,
    }
    made = optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs=about)
    made.datetime_start, made.datetime_complete = START, START + timedelta(minutes=1)
    return made


TRIALS = (
    failed(f"OSError: /home/anna/runs/x.npz on {HOST} is gone"),
    trial((1, 12), 0.004, shortfall=0.5),  # the fastest, and not accurate enough
    trial((12, 30), 0.010),
    trial((30, 100.5), 0.005),
    trial((100.5, 120), 0.006),
)
COMPARISON = {
    "trial": 3,
    "base": {"measurement": stored(measured(0.9, b"TFL3 the base")), "test_accuracy_percent": 90.8},
    "best": {"measurement": stored(measured(0.006)), "test_accuracy_percent": 71.02},
}


def write(
    folder: Path, trials: tuple[optuna.trial.FrozenTrial, ...], comparison: dict[str, Any] | None, road: str = "latency"
) -> Path:
    """The study file, its storage and its artifacts."""
    (folder / "studies").mkdir()
    text = f'road = "{road}"  # a study\n'
    (folder / "studies" / "small.toml").write_text(text)
    runs = folder / "runs" / "small"
    (runs / "artifacts").mkdir(parents=True)
    (runs / "artifacts" / "the-model").write_bytes(MODEL)
    study = optuna.create_study(
        study_name="small",
        storage=open_storage(f"sqlite:///{runs / 'study.db'}"),
        direction="maximize" if road == "fom" else "minimize",
    )
    for name, value in (
        ("identity", {"base": "0123456789abcdef", "host": ["local:", "estimate://4.8W", HOST]}),
        ("road", road),
        ("data", "cifar10"),
        ("data source", "/home/anna/data/cifar-10-batches-py"),
        ("rule_percent", 70.0),
        ("required_percent", 71.5),
        ("environment", asdict(measured(1.0).environment)),
        ("comparison", comparison),
    ):
        if value is not None:
            study.set_user_attr(name, value)
    study.add_trials(trials)
    return folder


@dataclass(frozen=True)
class Kept:
    """A folder that `thrones best --results` has written, and what it said."""

    place: Path
    said: str
    result: dict[str, Any]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """What is kept of TRIALS. It is for reading."""
    folder = write(tmp_path_factory.mktemp("kept"), TRIALS, COMPARISON)
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


def keep(where: str = "results/small") -> list[str]:
    """The same in this process, in the working directory."""
    file = Path("studies/small.toml")
    config = load_config(file)
    study = load_study(config)
    return winner.write_results(Path(where), file, study, config, collect(study, config))


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
    monkeypatch.chdir(write(tmp_path, (trial((0, 9), 0.012),), {**COMPARISON, "trial": 0}, road))
    keep()
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
    assert len(page) < winner.LARGEST_PAGE
    assert "report.html there has its tables but no charts" in kept.said
    assert winner.NO_CHARTS in page and "150 x faster" in page
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


def test_a_second_call_replaces_the_folder(folder: Path) -> None:
    place = folder / "results" / "small"
    first = {path.name: path.read_bytes() for path in place.iterdir()}
    (place / "model.tflite").write_bytes(b"old")
    (place / "left over").touch()
    assert json.loads(best(folder, "--json"))["best_trial"] == 3, "nothing but JSON is printed"
    assert {path.name: path.read_bytes() for path in place.iterdir()} == first
    assert [path.name for path in place.parent.iterdir()] == ["small"], "no unfinished folder stays"


def test_a_folder_of_somebody_else_is_left_alone(folder: Path) -> None:
    place = folder / "results" / "small"
    shutil.rmtree(place)
    place.mkdir()
    (place / "thesis.txt").write_text("years of work")
    line = squares.refused("best", "studies/small.toml", "--results", "results/small", folder=folder)
    assert line.startswith("thrones: results/small is there and holds no result.json; name a new folder")
    assert [path.name for path in place.iterdir()] == ["thesis.txt"]


EXPORT = "search.report.export"


@pytest.mark.parametrize("where", [f"{EXPORT}._write_page", f"{EXPORT}.write_csv", "pathlib.Path.rename"])
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
            keep()
    assert (place / "model.tflite").read_bytes() == b"old"
    assert [path.name for path in place.parent.iterdir()] == ["small"]


def test_a_page_that_is_too_large_without_its_charts_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winner, "LARGEST_PAGE", 1000)
    wrote, why = keep("new/small")
    assert "report.html" not in wrote and not (folder / "new" / "small" / "report.html").exists()
    assert why.startswith("no report.html there: without its charts it still has 0.")


def test_no_trial_that_keeps_the_rule_is_one_line(tmp_path: Path) -> None:
    folder = write(tmp_path, (failed("slow"), trial((1, 2), 0.01, shortfall=0.1)), None)
    line = squares.refused("best", "studies/small.toml", "--results", "results/small", folder=folder)
    assert line.startswith("thrones: studies/small.toml: no trial keeps the rule yet")
    assert not (folder / "results").exists()


@pytest.mark.parametrize("comparison", [None, {**COMPARISON, "trial": 2}], ids=["none", "of an earlier best"])
def test_no_comparison(comparison: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, TRIALS, comparison))
    with pytest.raises(UsageError, match="not been compared with the base yet; `thrones run studies/small.toml` does"):
        keep()
    assert not Path("results").exists()


def test_a_model_that_is_not_the_measured_one_is_not_handed_over(folder: Path) -> None:
    path = folder / "runs" / "small" / "artifacts" / "the-model"
    path.write_bytes(MODEL + b"\0")
    with pytest.raises(UsageError, match="has changed since it was measured"):
        keep()
    path.unlink()
    with pytest.raises(UsageError, match="the-model is gone"):
        keep()


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


# What bench_roads.py makes of such folders.


def entry(latency_ms: float, accuracy_percent: float) -> Entry:
    """A model as `edge.comparison` gives it back, its energy by its latency."""
    one = measured(latency_ms)
    window = replace(one.windows[0], end_s=latency_ms)  # 1000 images in so many seconds
    return Entry("", "raw", (replace(one, windows=(window,)),), accuracy_percent)


BASE = entry(0.9, 90.8)


@pytest.fixture
def winners(kept: Kept, tmp_path: Path) -> Path:
    """A folder in which the road latency has a winner."""
    shutil.copytree(kept.place, tmp_path / "winners" / "latency")
    return tmp_path / "winners"


def words(rows: list[bench_roads.Row]) -> list[str]:
    return [row.word for row in rows]


def test_a_winner_is_held_against_targets_and_claims(winners: Path) -> None:
    (road, found), *others = bench_roads.read_winners(winners).items()
    assert (road, found.model, found.threads, others) == ("latency", MODEL, 1, [])
    assert words(bench_roads.rows_of(found, BASE, entry(0.0061, 71.02))) == ["ok"] * 4
    assert words(bench_roads.rows_of(found, BASE, entry(0.0071, 71.02))) == ["ok", "MISS", "ok", "differs"]
    assert words(bench_roads.rows_of(found, BASE, entry(0.006, 71.03))) == ["ok", "ok", "MISS", "ok"]
    assert words(bench_roads.rows_of(found, BASE, entry(0.006, 70.49))) == ["MISS", "ok", "MISS", "ok"]
    assert words(bench_roads.rows_of_time(found.claim)) == ["ok", "ok"]
    late = {"time": {"speedup_reached_after_minutes": {"60": 45.1, "130": None}}}
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
    monkeypatch.setattr("compress.datasets.dataset.load", lambda *_: None)
    assert bench_roads.main(["--results", str(winners)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("MISS")] == [["MISS", "energy"], ["MISS", "fom"]]
    assert sum(line.startswith("ok ") for line in lines) == 6
    for road in ("energy", "fom"):
        shutil.copytree(winners / "latency", winners / road)
    monkeypatch.setattr(bench_roads, "LEAST_RATIO", dict.fromkeys(bench_roads.ROADS, 100.0))
    assert bench_roads.main(["--results", str(winners)]) == 0, "energy's and fom's claims only differ"


def test_models_run_with_their_own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(edge.LocalDevice, "measure", lambda device, model, plan, *_: asked.append(plan.threads))
    images = np.zeros((1, 32, 32, 3), np.uint8)
    with bench_roads.Threaded([bench_roads.Winner("latency", MODEL, 2, {})]) as device:
        for model in (MODEL, b"TFL3 the base"):
            device.measure(model, edge.PLANS["short"], images)
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
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
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
