"""Studies from file to best model: real training, conversion and measuring, on images that are soon learnt."""

import shutil
import sqlite3
from hashlib import sha256
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import optuna
import pytest
import squares
from conftest import Finished
from rich.console import Console
from squares import records_of

from compress.datasets.load import load
from edge.measuring.measurement import Measurement
from edge.runtime.tflite import predict
from search.cli import study_commands
from search.evaluation import EndReason, Phase
from search.progress import Progress
from search.report.load_results import load_results
from search.runner.study import run_study
from search.storage.trial_record import MODEL, WINDOWS, TrialRecord, read_trials
from search.strategy.warm_start import weights_only

pytestmark = pytest.mark.usefixtures("hasty_plans")
IN_ORDER = [Phase.ARCHITECTURE, Phase.MEASURE_ARCHITECTURE, Phase.TRAIN, Phase.CONVERT, Phase.MEASURE]


def seconds_of(record: TrialRecord, *phases: Phase) -> float:
    """Return the time that a trial spent in these phases."""
    return sum(each.seconds for each in record.phases if each.phase in phases)


def files(folder: Path) -> dict[str, int]:
    """Return every file of the cache with the moment of its last change."""
    cache = folder / "runs" / "cache"
    return {str(path.relative_to(cache)): path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_study_runs_to_its_end(finished: Finished) -> None:
    assert finished.run.returncode == 0, finished.run.stderr
    assert finished.run.stderr == ""
    assert finished.run.stdout.startswith("Study squares, road latency, on squares from squares.npz\n")
    assert "training the base on squares: 6 epochs" in finished.run.stdout
    hopeless, small, smaller, slow = records = records_of(finished.folder)
    assert [record.state.name for record in records] == ["PRUNED", "COMPLETE", "COMPLETE", "PRUNED"]
    assert (small.value or 0) > (smaller.value or 0) > 0
    assert slow.end_reason in (EndReason.SLOWER_ARCHITECTURE, EndReason.MAC_BOUND)
    assert slow.message.startswith("cannot win: ")
    assert {each.phase for each in slow.phases} - {Phase.WAITING} == {Phase.ARCHITECTURE, Phase.MEASURE_ARCHITECTURE}
    assert slow.curve == ()  # not a single epoch
    assert hopeless.end_reason is EndReason.OUT_OF_REACH
    assert hopeless.message.startswith("out of reach: ")
    assert hopeless.predicted_violation is not None and hopeless.predicted_violation > 0
    for record in (small, smaller):
        assert record.is_predicted_feasible
        assert len(record.curve) == 4
        phases = [each for each in record.phases if each.phase is not Phase.WAITING]  # for another process
        assert list(dict.fromkeys(each.phase for each in phases)) == IN_ORDER
        assert min(each.seconds for each in phases) > 0
        assert all(one.start_s + one.seconds <= next_.start_s + 0.002 for one, next_ in pairwise(phases))


@pytest.mark.slow
def test_the_artifacts_are_what_was_measured(finished: Finished) -> None:
    folder = finished.folder / "runs" / "squares"
    for record in records_of(finished.folder)[1:3]:
        assert record.evaluation is not None
        model = (folder / "artifacts" / record.artifacts[MODEL]).read_bytes()
        measured = Measurement.from_json((folder / "artifacts" / record.artifacts[WINDOWS]).read_text())
        assert measured == record.measurement
        assert sha256(model).hexdigest() == record.evaluation.sha256 == measured.sha256
        assert measured.latency_ms == record.value
        images, labels = load(str(finished.folder / "squares.npz")).validation
        accuracy = float(np.mean(predict(model, images) == labels) * 100)
        assert accuracy == record.evaluation.accuracy.validation_percent >= 60
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith("study.")) == [
        "artifacts",
        "report.html",
        "trials",
        "trials.csv",
    ]


@pytest.mark.slow
def test_the_storage_is_written_ahead(squares_copy: Path) -> None:
    with sqlite3.connect(squares_copy / "runs" / "squares" / "study.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.slow
def test_continuing_repeats_nothing(squares_copy: Path) -> None:
    before, kept = records_of(squares_copy), files(squares_copy)
    config = squares.read(squares_copy / "squares.toml")
    data = load(str(squares_copy / "squares.npz"))
    run_study(config, data, squares.silent())
    assert records_of(squares_copy) == before
    assert files(squares_copy) == kept
    more = squares.read(squares.write_study(squares_copy / "squares.toml", squares.SMALL, trials=5))
    run_study(more, data, squares.silent())
    after = records_of(squares_copy)
    assert after[:4] == before
    assert len(after) == 5
    assert after[4].params not in [record.params for record in before]
    assert {name: files(squares_copy)[name] for name in kept} == kept


@pytest.mark.slow
def test_another_road_takes_models_and_measurements_from_the_cache(squares_copy: Path) -> None:
    before, kept = records_of(squares_copy), files(squares_copy)
    starts = (squares.SMALL, squares.SMALLER)
    config = squares.read(squares.write_study(squares_copy / "fom.toml", *starts, trials=2, road="fom"))
    study = run_study(config, load(str(squares_copy / "squares.npz")), squares.silent())
    assert files(squares_copy) == kept
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    for was, now in zip(before[1:3], read_trials(study), strict=True):
        assert now.evaluation == was.evaluation
        assert now.measurement == was.measurement
        assert now.curve == was.curve
        assert seconds_of(now, Phase.TRAIN, Phase.CONVERT) < seconds_of(was, Phase.TRAIN, Phase.CONVERT) / 5


@pytest.mark.slow
def test_another_study_begins_with_what_was_trained_before(squares_copy: Path) -> None:
    small = records_of(squares_copy)[1].spec
    thinner = squares.SMALL.replace("pruning_ratios = 0.0", "pruning_ratios = 0.2")
    config = squares.read(squares.write_study(squares_copy / "heir.toml", thinner, trials=1))
    study = run_study(config, load(str(squares_copy / "squares.npz")), squares.silent())
    (heir,) = read_trials(study)
    assert small is not None and heir.spec is not None
    assert heir.spec.parent == weights_only(small)
    assert len(heir.curve) == 4  # its own epochs; the parent was not trained again


@pytest.mark.slow
def test_another_road_begins_with_the_best_of_all_that_is_known(squares_copy: Path) -> None:
    small, smaller = (record.spec for record in records_of(squares_copy)[1:3])
    config = squares.read(squares.write_study(squares_copy / "energy.toml", trials=2, road="energy"))
    study = run_study(config, load(str(squares_copy / "squares.npz")), squares.silent())
    first, second = read_trials(study)
    assert [record.spec for record in (first, second)] == [smaller, small]  # the better one first
    assert first.state.name == "COMPLETE" and Phase.TRAIN in {each.phase for each in first.phases}
    assert seconds_of(first, Phase.TRAIN) < 2  # nothing is trained again


@pytest.mark.slow
def test_the_best_are_trained_for_longer_and_must_then_meet_the_constraint(squares_copy: Path) -> None:
    starts = (squares.SMALL + "epochs = 1\n", squares.SMALLER + "epochs = 1\n")
    shutil.rmtree(squares_copy / "runs" / "cache" / "weights")  # or else they would have four epochs
    path = squares.write_study(squares_copy / "finish.toml", *starts, trials=2)
    text = path.read_text().replace("accuracy_percent = 60", "accuracy_percent = 99.9").replace("[4, 4]", "[1, 4]")
    final = 'candidates = 1\nepochs = 8\npoints_per_doubling = 100\nquantization = ["int8"]\n'
    path.write_text(f"{text}\n[final_training]\n{final}")
    study = run_study(squares.read(path), load(str(squares_copy / "squares.npz")), squares.silent())
    small, smaller, longer, *schemes = records = read_trials(study)
    assert longer.params == smaller.params  # the better one of both
    assert longer.refinement is not None and longer.refinement.of == smaller.number
    assert smaller.spec is not None and longer.spec is not None and longer.spec.parent is not None
    assert (smaller.spec.epochs, longer.spec.epochs) == (1, 8)
    assert len(longer.curve) == 8
    assert [str(record.spec.quantization) for record in schemes if record.spec is not None] == ["int8"]
    assert longer.spec.parent.epochs == 1  # it continues from what the search had trained
    assert small.evaluation is not None and small.predicted_violation is not None
    # Three doublings and a bit are expected of the candidate, and nothing any more of its final training.
    assert small.predicted_violation < small.evaluation.constraint_violation - 100 * 3
    assert longer.evaluation is not None
    accuracy = longer.evaluation.accuracy
    least = min(accuracy.search_percent, accuracy.decision_percent)
    assert longer.predicted_violation == pytest.approx(99.9 - accuracy.search_percent)
    assert longer.evaluation.constraint_violation == pytest.approx(99.9 - least)
    best = load_results(study, squares.read(path)).best_trial
    feasible = {
        record.number
        for record in records
        if record.evaluation is not None
        and min(record.evaluation.accuracy.search_percent, record.evaluation.accuracy.decision_percent) >= 99.9
    }
    assert {record.number for record in records if record.is_feasible} == feasible
    assert (best is None) is (not feasible)
    assert best is None or best in feasible
    again = run_study(squares.read(path), load(str(squares_copy / "squares.npz")), squares.silent())
    assert read_trials(again) == records


@pytest.mark.slow
def test_a_run_whose_time_is_over_before_the_first_trial_says_so(squares_copy: Path) -> None:
    shown = StringIO()
    console = Console(file=shown, width=200)
    config = squares.read(squares.write_study(squares_copy / "late.toml", squares.SMALL, trials=1, minutes=1e-6))
    study = run_study(config, load(str(squares_copy / "squares.npz")), Progress(console, 1))
    assert [record.state.name for record in read_trials(study)] == ["WAITING"]
    words = "no trial was run: the budget of 1e-06 minutes was over first; give it more with --minutes, or minutes in"
    assert words in shown.getvalue()
    study_commands.show_results(console, load_results(study, config), config)
    assert "no trial meets the accuracy constraint" not in shown.getvalue()
