"""What `status`, `best`, `report` and the page say of one study is the same."""

import csv
import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import squares

from compress.datasets.load import load
from edge.runtime.tflite import predict
from search.report.load_results import load_results, load_summary
from search.report.sentences import savings_text, trial_counts
from search.storage.open_storage import load_study


@pytest.mark.slow
def test_what_status_counts_is_what_the_report_counts(squares_copy: Path) -> None:
    config = squares.read(squares_copy / "squares.toml")
    study = load_study(config)
    whole, summary = load_results(study, config), load_summary(study, config, last=1)
    assert trial_counts(summary) == trial_counts(whole)
    assert savings_text(summary) == savings_text(whole) != ""
    assert (summary.best, summary.best_trial, summary.base) == (whole.best, whole.best_trial, whole.base)
    assert summary.trials[2:] == whole.trials[2:]  # the best and the last, with all that is known of them
    known = [(trial.number, trial.state, trial.reason, trial.value, trial.seconds) for trial in whole.trials]
    assert [(trial.number, trial.state, trial.reason, trial.value, trial.seconds) for trial in summary.trials] == known


@pytest.mark.slow
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
    assert "4 trials: 2 complete (2 feasible), 2 pruned; best so far: trial 2" in say("status", "squares.toml")

    for name in ("report.html", "trials.csv"):
        (squares_copy / "runs" / "squares" / name).unlink()
    assert say("report", "squares.toml").split() == ["runs/squares/report.html", "runs/squares/trials.csv"]
    page = (squares_copy / "runs" / "squares" / "report.html").read_text()
    assert f"{best['best']['accuracy_percent']:.2f}" in page
    with (squares_copy / "runs" / "squares" / "trials.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["PRUNED", "COMPLETE", "COMPLETE", "PRUNED"]
