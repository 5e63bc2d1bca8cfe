"""Studies from file to best model: real training, conversion and measuring, on images that are soon learnt."""

import csv
import json
import shutil
import sqlite3
from dataclasses import replace
from hashlib import sha256
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import squares
from conftest import Finished
from hasty import HASTY
from rich.console import Console

from compress.datasets.dataset import Dataset
from compress.datasets.load import load
from compress.errors import UsageError
from compress.network import load_weights, save_weights
from edge.devices.local import LocalDevice
from edge.errors import EdgeError, UnavailableError
from edge.measuring.environment import read_environment
from edge.measuring.measurement import Measurement
from edge.measuring.plan import PLANS, MeasurePlan
from edge.meters.meter import open_meter
from edge.runtime.tflite import predict
from search.cache import Cache
from search.candidate.base_network import base_path
from search.candidate.calibration import Speed
from search.cli import study_commands
from search.progress import Progress
from search.report.load_results import collect, glance
from search.report.tables import counts, saved
from search.runner.study import run_study
from search.storage.study_state import ask_again, best_trial, load_study


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, plan in HASTY.items():
        monkeypatch.setitem(PLANS, name, plan)


def trials_of(folder: Path, name: str = "squares") -> list[optuna.trial.FrozenTrial]:
    return load_study(squares.read(folder / f"{name}.toml")).get_trials()


def seconds_of(trial: optuna.trial.FrozenTrial, *names: str) -> float:
    """The time that a trial spent in these phases."""
    return sum(seconds for name, _, seconds in trial.user_attrs["phases"] if name in names)


def files(folder: Path) -> dict[str, int]:
    """Every file of the cache with the moment of its last change."""
    cache = folder / "runs" / "cache"
    return {str(path.relative_to(cache)): path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}


def test_a_study_runs_to_its_end(finished: Finished) -> None:
    assert finished.run.returncode == 0, finished.run.stderr
    assert finished.run.stderr == ""
    assert finished.run.stdout.startswith("Study squares, road latency, on squares from squares.npz\n")
    assert "training the base on squares: 6 epochs" in finished.run.stdout
    hopeless, small, smaller, slow = trials = trials_of(finished.folder)
    assert [trial.state.name for trial in trials] == ["PRUNED", "COMPLETE", "COMPLETE", "PRUNED"]
    assert (small.value or 0) > (smaller.value or 0) > 0
    assert slow.user_attrs["reason"].startswith("cannot win: ")
    assert {name for name, *_ in slow.user_attrs["phases"]} - {"waiting"} == {"structure", "measure structure"}
    assert slow.intermediate_values == {}  # not a single epoch
    assert hopeless.user_attrs["reason"].startswith("out of reach: ")
    assert hopeless.user_attrs["constraint"] > 0
    for trial in (small, smaller):
        assert trial.user_attrs["constraint"] <= 0
        assert set(trial.intermediate_values) == {1, 2, 3, 4}
        phases = [phase for phase in trial.user_attrs["phases"] if phase[0] != "waiting"]  # for another process
        in_order = list(dict.fromkeys(name for name, *_ in phases))
        assert in_order == ["structure", "measure structure", "train", "convert", "measure"]
        assert min(seconds for *_, seconds in phases) > 0
        assert all(start + took <= after + 0.002 for (_, start, took), (_, after, _) in pairwise(phases))


def test_the_artifacts_are_what_was_measured(finished: Finished) -> None:
    folder = finished.folder / "runs" / "squares"
    for trial in trials_of(finished.folder)[1:3]:
        about = trial.user_attrs
        model = (folder / "artifacts" / about["artifact model.tflite"]).read_bytes()
        measured = Measurement.from_json((folder / "artifacts" / about["artifact windows.json"]).read_text())
        assert sha256(model).hexdigest() == about["candidate"]["sha256"] == measured.sha256
        assert measured.latency_ms == trial.value
        images, labels = load(str(finished.folder / "squares.npz")).validation
        accuracy = float(np.mean(predict(model, images) == labels) * 100)
        assert accuracy == about["candidate"]["accuracy_percent"] >= 60
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith("study.")) == [
        "artifacts",
        "report.html",
        "trials",
        "trials.csv",
    ]


def test_what_status_counts_is_what_the_report_counts(squares_copy: Path) -> None:
    config = squares.read(squares_copy / "squares.toml")
    study = load_study(config)
    whole, glanced = collect(study, config), glance(study, config, last=1)
    assert counts(glanced) == counts(whole)
    assert saved(glanced) == saved(whole) != ""
    assert (glanced.best, glanced.best_trial, glanced.base) == (whole.best, whole.best_trial, whole.base)
    assert glanced.trials[2:] == whole.trials[2:]  # the best and the last, with all that is known of them
    known = [(trial.number, trial.state, trial.reason, trial.value, trial.seconds) for trial in whole.trials]
    assert [(trial.number, trial.state, trial.reason, trial.value, trial.seconds) for trial in glanced.trials] == known


def test_status_best_report_and_json_agree(squares_copy: Path) -> None:
    def say(*arguments: str) -> str:
        ended = squares.thrones(*arguments, folder=squares_copy)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    best = json.loads(say("best", "squares.toml", "--json", "--out", "best.tflite"))
    assert json.loads(say("status", "squares.toml", "--json")) == best
    assert (best["best_trial"], best["compared"], best["best"]["accuracy_of"]) == (2, True, "test")
    model = (squares_copy / "best.tflite").read_bytes()
    assert sha256(model).hexdigest() == best["best"]["sha256"] == best["trials"][2]["figures"]["sha256"]
    images, labels = load(str(squares_copy / "squares.npz")).test
    assert float(np.mean(predict(model, images) == labels) * 100) == best["best"]["accuracy_percent"]
    # A pruned trial has no objective, though Optuna takes its last accuracy for one.
    assert [trial["value"] is None for trial in best["trials"]] == [True, False, False, True]
    for words in ("best (trial 2)", "unpruned base", f"{best['best']['accuracy_percent']:.2f} test"):
        assert words in say("best", "squares.toml")
    assert "4 trials: 2 complete (2 accurate enough), 2 pruned; best so far: trial 2" in say("status", "squares.toml")

    for name in ("report.html", "trials.csv"):
        (squares_copy / "runs" / "squares" / name).unlink()
    assert say("report", "squares.toml").split() == ["runs/squares/report.html", "runs/squares/trials.csv"]
    page = (squares_copy / "runs" / "squares" / "report.html").read_text()
    assert f"{best['best']['accuracy_percent']:.2f}" in page
    with (squares_copy / "runs" / "squares" / "trials.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["PRUNED", "COMPLETE", "COMPLETE", "PRUNED"]


def test_the_storage_is_written_ahead(squares_copy: Path) -> None:
    with sqlite3.connect(squares_copy / "runs" / "squares" / "study.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_going_on_repeats_nothing(squares_copy: Path) -> None:
    before, kept = trials_of(squares_copy), files(squares_copy)
    config = squares.read(squares_copy / "squares.toml")
    data = load(str(squares_copy / "squares.npz"))
    run_study(config, data, squares.silent())
    assert trials_of(squares_copy) == before
    assert files(squares_copy) == kept
    more = squares.read(squares.write_study(squares_copy / "squares.toml", squares.SMALL, trials=5))
    run_study(more, data, squares.silent())
    after = trials_of(squares_copy)
    assert after[:4] == before
    assert len(after) == 5
    assert after[4].params not in [trial.params for trial in before]
    assert {name: files(squares_copy)[name] for name in kept} == kept


def test_another_road_takes_models_and_measurements_from_the_cache(squares_copy: Path) -> None:
    before, kept = trials_of(squares_copy), files(squares_copy)
    starts = (squares.SMALL, squares.SMALLER)
    config = squares.read(squares.write_study(squares_copy / "fom.toml", *starts, trials=2, road="fom"))
    study = run_study(config, load(str(squares_copy / "squares.npz")), squares.silent())
    assert files(squares_copy) == kept
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    for was, now in zip(before[1:3], study.get_trials(), strict=True):
        assert now.user_attrs["candidate"] == was.user_attrs["candidate"]
        assert now.user_attrs["measurement"] == was.user_attrs["measurement"]
        assert now.intermediate_values == was.intermediate_values
        assert seconds_of(now, "train", "convert") < seconds_of(was, "train", "convert") / 5


def test_another_study_begins_with_what_was_trained_before(squares_copy: Path) -> None:
    small = trials_of(squares_copy)[1].user_attrs["spec"]
    thinner = squares.SMALL.replace("pruning_ratios = 0.0", "pruning_ratios = 0.2")
    config = squares.read(squares.write_study(squares_copy / "heir.toml", thinner, trials=1))
    (heir,) = run_study(config, load(str(squares_copy / "squares.npz")), squares.silent()).get_trials()
    assert heir.user_attrs["spec"]["parent"] == {**small, "ends": "float32"}
    assert len(heir.intermediate_values) == 4  # its own epochs; the parent was not trained again


def test_another_road_begins_with_the_best_of_all_that_is_known(squares_copy: Path) -> None:
    small, smaller = (trial.user_attrs["spec"] for trial in trials_of(squares_copy)[1:3])
    config = squares.read(squares.write_study(squares_copy / "energy.toml", trials=2, road="energy"))
    first, second = run_study(config, load(str(squares_copy / "squares.npz")), squares.silent()).get_trials()
    assert [trial.user_attrs["spec"] for trial in (first, second)] == [smaller, small]  # the better one first
    assert first.state.name == "COMPLETE" and "train" in {name for name, *_ in first.user_attrs["phases"]}
    assert sum(took for name, _, took in first.user_attrs["phases"] if name == "train") < 2  # nothing is trained again


class Absent:
    """As many test images as there are, and none to look at."""

    def __len__(self) -> int:
        return 100


class Blind(Dataset):
    """A data set without its test images; what is known of them is that they are the same."""

    test_key = "the same"


def test_the_choice_is_made_without_the_test_images(squares_copy: Path) -> None:
    for kind in ("structures", "untrained", "model", "labels", "measurements"):
        shutil.rmtree(squares_copy / "runs" / "cache" / kind)
    config = squares.read(squares.write_study(squares_copy / "blind.toml", squares.SMALLER, trials=1))
    found = vars(load(str(squares_copy / "squares.npz")))
    data = Blind(**{**{name: found[name] for name in Dataset.__dataclass_fields__}, "test": (Absent(), Absent())})
    with pytest.raises(Exception, match="uint8|Absent"):  # when all has been chosen
        run_study(config, data, squares.silent())
    study = load_study(config)
    chosen = best_trial(study)
    assert chosen is not None
    assert chosen.user_attrs["candidate"]["accuracy_percent"] >= 60
    assert "comparison" not in study.user_attrs


OTHERS = ("space", "training", "base", "data", "test images", "training version", "tensorflow", "kind of board")


@pytest.mark.parametrize("what", OTHERS)
def test_a_study_is_not_mixed_with_another(what: str, squares_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = trials_of(squares_copy)
    config, data = squares.read(squares_copy / "squares.toml"), load(str(squares_copy / "squares.npz"))
    cache = Cache(squares_copy / "runs" / "cache")
    base = base_path(cache, data)
    if what == "space":
        config = config.model_copy(update={"space": config.space.model_copy(update={"pruning_ratio": (0.0, 0.97)})})
    if what == "training":
        config = config.model_copy(update={"training": config.training.model_copy(update={"batch_size": 16})})
    if what == "base":
        save_weights(base, [weight * 2 for weight in load_weights(base)])
    if what == "data":
        data = replace(data, train=(255 - data.train[0], data.train[1]))
        shutil.copy(base, base_path(cache, data))
    if what == "training version":
        monkeypatch.setattr("compress.versions.TRAINING_VERSION", 99)
    if what == "tensorflow":
        newer = {"tensorflow": "2.99"}
        monkeypatch.setattr("search.runner.study.training_versions", lambda: {"training version": 2, **newer})
        monkeypatch.setattr("search.runner.study.conversion_versions", lambda: {"conversion version": 2, **newer})
    if what == "kind of board":
        other = replace(read_environment(), simd="avx2", processor="another")
        monkeypatch.setattr("edge.devices.local.read_environment", lambda: other)
    if what == "test images":
        data = replace(data, test=(data.test[0], data.test[1][::-1]))
    with pytest.raises(UsageError, match=f"study.db was made with another {what} .*rename the study file") as caught:
        run_study(config, data, squares.silent())
    assert "\n" not in str(caught.value)
    assert trials_of(squares_copy) == before


def test_a_study_is_not_continued_on_a_host_of_another_speed(
    squares_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_study(squares.read(squares_copy / "squares.toml")).user_attrs
    monkeypatch.setattr("search.candidate.context.calibrate", lambda *_: Speed(1e6, 1e6, "the base is slow"))
    with pytest.raises(UsageError, match="takes 1e\\+06 ms here now, and took .* when study squares was begun"):
        data = load(str(squares_copy / "squares.npz"))
        run_study(squares.read(squares_copy / "squares.toml"), data, squares.silent())
    assert load_study(squares.read(squares_copy / "squares.toml")).user_attrs == before  # and nothing was begun


@pytest.mark.parametrize("damage", [b"", b"garbled"], ids=["empty", "garbled"])
def test_a_damaged_cache_is_made_anew(damage: bytes, squares_copy: Path) -> None:
    """Every file of every kind, as a power cut leaves them; nothing but time is lost."""
    kinds = set()
    for path in (squares_copy / "runs" / "cache").rglob("*"):
        if path.is_file():
            kinds.add(path.relative_to(squares_copy / "runs" / "cache").parts[0])
            path.write_bytes(damage)
    assert kinds >= {"base", "bases", "weights", "model", "untrained", "labels", "structures", "measurements", "speed"}
    config = squares.read(squares.write_study(squares_copy / "after.toml", squares.SMALL, trials=1))
    said = StringIO()
    study = run_study(config, load(str(squares_copy / "squares.npz")), Progress(Console(file=said, width=300), 1))
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE"]
    assert "is damaged; it is made anew" in said.getvalue()


def test_a_measurement_that_cannot_be_trusted_is_asked_for_once_more(
    squares_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANS, "search", replace(HASTY["search"], max_spread=1e-9))
    config = squares.read(squares.write_study(squares_copy / "unsteady.toml", squares.SMALL, trials=1))
    study = run_study(config, load(str(squares_copy / "squares.npz")), squares.silent())
    first, second = study.get_trials()
    assert (first.state.name, second.state.name) == ("FAIL", "FAIL")
    assert "the limit is" in first.user_attrs["reason"]
    assert (second.params, second.user_attrs["second try of"]) == (first.params, 0)


class Broken(LocalDevice):
    """A device whose rig fails at every measurement of a candidate, each time for another reason."""

    failures = 0

    def measure(self, model: bytes, plan: MeasurePlan, *others: Any, **more: Any) -> Measurement:
        if plan.name == "calibration":
            return super().measure(model, plan, *others, **more)
        type(self).failures += 1
        raise UnavailableError(f"no reading for {self.failures}.0 s")


def test_a_broken_rig_stops_the_study_with_the_first_reason_and_nothing_is_lost(
    squares_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = (squares.SMALL, squares.SMALLER)
    config = squares.read(squares.write_study(squares_copy / "broken.toml", *starts, trials=2))
    data = load(str(squares_copy / "squares.npz"))
    shutil.rmtree(squares_copy / "runs" / "cache" / "structures")
    monkeypatch.setattr("search.runner.loop.RIG_PAUSE_S", 0.0)
    with monkeypatch.context() as broken:
        opener = "search.candidate.context.open_test_bench"
        broken.setattr(opener, lambda device, meter, tell: Broken(open_meter(meter)))
        with pytest.raises(EdgeError, match="the rig failed 3 times in a row; first: no reading for 1.0 s"):
            run_study(config, data, squares.silent())
    failed = trials_of(squares_copy, "broken")
    assert [trial.state.name for trial in failed] == ["FAIL"] * 3 + ["WAITING"] * 2
    ended = [trial for trial in run_study(config, data, squares.silent()).get_trials() if trial.state.name != "FAIL"]
    assert {trial.state.name for trial in ended} <= {"COMPLETE", "PRUNED"}
    assert {str(trial.params) for trial in ended} == {str(trial.params) for trial in failed[:2]}


def test_the_best_are_trained_again_for_longer_and_must_then_keep_the_rule(squares_copy: Path) -> None:
    starts = (squares.SMALL + "epochs = 1\n", squares.SMALLER + "epochs = 1\n")
    shutil.rmtree(squares_copy / "runs" / "cache" / "weights")  # or else they would have four epochs
    path = squares.write_study(squares_copy / "finish.toml", *starts, trials=2)
    text = path.read_text().replace("accuracy_percent = 60", "accuracy_percent = 99.9").replace("[4, 4]", "[1, 4]")
    finish = 'candidates = 1\nepochs = 8\npoints_per_doubling = 100\nquantization = ["int8"]\n'
    path.write_text(f"{text}\n[final_training]\n{finish}")
    study = run_study(squares.read(path), load(str(squares_copy / "squares.npz")), squares.silent())
    small, smaller, finalist, *formats = study.get_trials()
    assert finalist.params == smaller.params  # the better one of both
    assert finalist.user_attrs["finalist of"] == smaller.number
    assert (smaller.user_attrs["spec"]["epochs"], finalist.user_attrs["spec"]["epochs"]) == (1, 8)
    assert len(finalist.intermediate_values) == 8
    assert [trial.user_attrs["spec"]["quantization"] for trial in formats] == ["int8"]
    assert finalist.user_attrs["spec"]["parent"]["epochs"] == 1  # it goes on from what the search had trained
    assert small.user_attrs["constraint"] < small.user_attrs["shortfall"] - 100 * 3  # three doublings and a bit
    about = finalist.user_attrs["candidate"]  # nothing is expected of a finalist: its own accuracies must do
    least = min(about["search_percent"], about["decision_percent"])
    assert finalist.user_attrs["constraint"] == pytest.approx(99.9 - about["search_percent"])
    assert finalist.user_attrs["shortfall"] == pytest.approx(99.9 - least)
    best = best_trial(study)
    assert best is None or best.user_attrs["shortfall"] <= 0
    assert run_study(squares.read(path), load(str(squares_copy / "squares.npz")), squares.silent()).get_trials() == (
        study.get_trials()
    )


def test_a_run_whose_time_is_over_before_the_first_trial_says_so(squares_copy: Path) -> None:
    said = StringIO()
    console = Console(file=said, width=200)
    config = squares.read(squares.write_study(squares_copy / "late.toml", squares.SMALL, trials=1, minutes=1e-6))
    study = run_study(config, load(str(squares_copy / "squares.npz")), Progress(console, 1))
    assert [trial.state.name for trial in study.get_trials()] == ["WAITING"]
    told = "no trial was run: the budget of 1e-06 minutes was over first; give it more with --minutes, or minutes in"
    assert told in said.getvalue()
    study_commands.show_results(console, collect(study, config), config)
    assert "no trial meets the accuracy constraint" not in said.getvalue()


def test_a_trial_cut_off_while_it_was_choosing_is_asked_again_for_what_it_was_asked_for() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"a": 0.25, "b": 0.75})
    study.ask().suggest_float("a", 0, 1)  # and Ctrl-C
    assert ask_again(study, 0, once=True)
    again = study.ask()
    assert (again.suggest_float("a", 0, 1), again.suggest_float("b", 0, 1)) == (0.25, 0.75)
    assert not ask_again(study, again.number, once=True)
    assert ask_again(study, again.number, once=False)
