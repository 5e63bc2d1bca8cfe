"""The results of a study for scripts: JSON for `--json`, CSV for `trials.csv`.

Keys and column names never change: scripts read them. They have some words that the code no longer
uses.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas

from compress.io import atomic_write
from compress.spec import CompressionSpec
from search.evaluation import Phase, Stage
from search.report.base_comparison import verdict
from search.report.early_stopping_savings import StageSaving, early_stopping_savings
from search.report.results import DevicePhase, Figures, StudyResults, TrialResult, first_trained
from search.report.sentences import constraint_text
from search.report.tables import best_layers

PHASE_KEYS = {Phase.ARCHITECTURE: "structure", Phase.MEASURE_ARCHITECTURE: "measure structure"}
"""The phases whose key is not their name."""
STAGE_KEYS = {Stage.BOUND: "free", Stage.ARCHITECTURE: "structure"}
"""The stages whose key is not their name."""


def results_dict(results: StudyResults) -> dict[str, Any]:
    """Return all results as JSON-ready data, and derived ones: speedup, verdict, savings ..."""
    data = asdict(replace(results, trials=()))
    data["road"] = str(data.pop("objective"))
    data["rule_percent"] = data.pop("constraint_percent")
    data["base"] = _figures_dict(results.base)
    data["best"] = _figures_dict(results.best)
    data["trials"] = [_trial_dict(trial) for trial in results.trials]
    data["speedup"] = results.speedup
    data["verdict"] = verdict(results)
    data["rule"] = constraint_text(results)
    data["savings"] = [_savings_dict(saving) for saving in early_stopping_savings(results.trials)]
    data["layers"] = [layer._asdict() for layer in best_layers(results)]
    return data


def write_csv(results: StudyResults, folder: Path) -> Path:
    """Write `trials.csv` into `folder`, one row a trial; return its path."""
    trained = first_trained(results.trials)
    rows = [_csv_row(trial, trained) for trial in results.trials]
    columns: dict[str, None] = {}
    for row in sorted(rows, key=len, reverse=True):  # the fullest row gives the order
        columns.update(dict.fromkeys(row))
    # convert_dtypes: else whole numbers become floats beside the gap of a trial without them.
    frame = pandas.DataFrame(rows, columns=list(columns) or ["number"]).convert_dtypes()
    path = folder / "trials.csv"
    atomic_write(path, frame.to_csv(index=False, lineterminator="\n").encode())
    return path


def _trial_dict(trial: TrialResult) -> dict[str, Any]:
    data = asdict(replace(trial, measurement=None))  # the windows are a hundred times the rest
    del data["measurement"]
    data["state"] = trial.state.name
    data["finalist_of"] = data.pop("refined_from")
    data["figures"] = _figures_dict(trial.figures)
    data["spec"] = None
    if trial.spec is not None:
        data["spec"] = trial.spec.to_dict()
    data["seconds"] = {_phase_key(phase): seconds for phase, seconds in trial.seconds.items()}
    data["phases"] = [_phase_dict(phase) for phase in trial.phases]
    return data


def _savings_dict(saving: StageSaving) -> dict[str, Any]:
    return {**asdict(saving), "stage": STAGE_KEYS.get(saving.stage, str(saving.stage))}


def _figures_dict(figures: Figures | None) -> dict[str, Any] | None:
    if figures is None:
        return None
    return {**asdict(figures), "fom": figures.fom, "fom_published": figures.fom_published}


def _phase_dict(phase: DevicePhase) -> dict[str, Any]:
    return {
        "name": _phase_key(phase.phase),
        "start_s": phase.start_s,
        "seconds": phase.seconds,
        "board": phase.device,
    }


def _phase_key(phase: Phase) -> str:
    return PHASE_KEYS.get(phase, str(phase))


def _csv_row(trial: TrialResult, trained: Mapping[CompressionSpec, int]) -> dict[str, Any]:
    """Return a trial as one flat row; percent, ms, mJ, W, MB, seconds; its parent by number."""
    row: dict[str, Any] = {
        "number": trial.number,
        "state": trial.state.name,
        "feasible": trial.feasible,
        "value": trial.value,
        "reason": trial.reason,
    }
    if trial.worker:
        row["worker"] = trial.worker
    if trial.spec is not None:
        row.update(_spec_columns(trial.spec, trained))
    if trial.figures is not None:
        row.update(asdict(trial.figures))
        row["fom"] = trial.figures.fom
    for phase, seconds in trial.seconds.items():
        row[f"seconds_{_phase_key(phase)}"] = seconds
    return row


def _spec_columns(spec: CompressionSpec, trained: Mapping[CompressionSpec, int]) -> dict[str, Any]:
    stored = spec.to_dict()
    stem, *blocks = stored.pop("fractions")
    columns = {"fraction_stem": stem}
    for number, fraction in enumerate(blocks):
        columns[f"fraction_{number}"] = fraction
    columns.update(stored)
    columns["dropped_blocks"] = " ".join(map(str, spec.dropped_blocks))
    columns["parent"] = None
    if spec.parent is not None:
        columns["parent"] = trained.get(spec.parent)
    return columns
