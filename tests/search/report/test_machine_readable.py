"""What scripts read: keys of JSON and columns of CSV that never change."""

import json
from pathlib import Path

import pandas  # type: ignore[import-untyped]  # no stubs
import pytest
from handmade import EMPTY, NASTY, figures, measurement, study, trial

from search.evaluation import Phase
from search.report.machine_readable import results_dict, write_csv
from search.report.results import DevicePhase
from search.report.sentences import constraint_text

REFINED = trial(
    0,
    refined_from=3,
    figures=figures(),
    measurement=measurement(),
    seconds={Phase.ARCHITECTURE: 4.0, Phase.MEASURE_ARCHITECTURE: 1.0, Phase.TRAIN: 90.0},
    phases=(DevicePhase(Phase.MEASURE_ARCHITECTURE, 10.0, 1.0, "ssh://pi"),),
)
STUDY_KEYS = {
    "name", "road", "data", "data_source", "rule_percent", "required_percent", "device", "meter", "environment",
    "base", "best", "best_trial", "compared", "base_architecture", "importances", "trials", "decision_images",
    "test_images", "tie_tolerance", "speedup", "verdict", "rule", "savings", "layers",
}  # fmt: skip
TRIAL_KEYS = {
    "number", "state", "end_reason", "reason", "feasible", "value", "figures", "spec", "architecture", "operators",
    "curve", "seconds", "params", "phases", "worker", "finalist_of", "artifacts", "search_percent",
    "decision_percent",
}  # fmt: skip


def test_json_is_json_and_has_the_fom() -> None:
    data = json.loads(json.dumps(results_dict(study()), allow_nan=False))
    assert data["best"]["fom_published"] == pytest.approx(data["best"]["fom"] * 10_000)
    assert data["trials"][0]["figures"]["fom"] > 0
    assert data["speedup"] == pytest.approx(0.9 / 0.0121)
    assert data["layers"][8]["after"] is None
    assert (data["rule"], data["savings"][1]["ended"]) == (constraint_text(study()), 1)
    assert [saving["stage"] for saving in data["savings"]] == ["free", "structure", "train and convert", "measure"]


def test_keys_of_json_stay() -> None:
    data = json.loads(json.dumps(results_dict(study(trials=(REFINED,))), allow_nan=False))
    assert data.keys() == STUDY_KEYS
    (refined,) = data["trials"]
    assert refined.keys() == TRIAL_KEYS
    assert (refined["state"], refined["finalist_of"], data["road"]) == ("COMPLETE", 3, "latency")
    assert refined["seconds"] == {"structure": 4.0, "measure structure": 1.0, "train": 90.0}
    assert refined["phases"] == [
        {"name": "measure structure", "start_s": 10.0, "seconds": 1.0, "board": "ssh://pi"}
    ]
    assert refined["spec"]["fractions"] == [0.5] * 14


def test_csv_has_a_row_a_trial(tmp_path: Path) -> None:
    frame = pandas.read_csv(write_csv(study(), tmp_path))
    assert list(frame["number"]) == [0, 1, 2, 3, 4]
    assert frame.loc[0, "latency_ms"] == 0.0123456
    assert frame.loc[0, "fom"] == pytest.approx(71.2 / (0.0123456 * 0.0592))
    assert (frame.loc[0, "fraction_stem"], frame.loc[0, "fraction_12"], frame.loc[0, "epochs"]) == (
        0.5,
        0.5,
        12,
    )
    assert (frame.loc[0, "quantization"], frame.loc[0, "dropped_blocks"]) == ("int8", "7 8")
    assert frame.loc[3, "reason"] == NASTY
    assert frame["seconds_train"].sum() == 150
    assert "43216," in (tmp_path / "trials.csv").read_text(encoding="utf-8"), "bytes stay whole numbers"


def test_columns_of_csv_stay(tmp_path: Path) -> None:
    frame = pandas.read_csv(write_csv(study(trials=(REFINED,)), tmp_path))
    fractions = ["fraction_stem", *(f"fraction_{block}" for block in range(13))]
    assert list(frame.columns) == [
        "number", "state", "feasible", "value", "reason", *fractions, "round_to", "dropped_blocks", "stem_stride",
        "epochs", "learning_rate", "augment", "distill_weight", "quantization", "ends", "threads", "parent", "name",
        "accuracy_percent", "accuracy_of", "latency_ms", "p90_ms", "spread", "energy_mj", "power_w", "estimated",
        "peak_memory_mb", "memory_growth_mb", "model_bytes", "parameters", "macs", "sha256", "plan", "fom",
        "seconds_structure", "seconds_measure structure", "seconds_train",
    ]  # fmt: skip


def test_an_empty_study_has_headings_alone(tmp_path: Path) -> None:
    assert len(pandas.read_csv(write_csv(EMPTY, tmp_path))) == 0
