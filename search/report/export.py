"""Export the best of a study as a folder for the repository: the measured model, its figures, and how it was found.

Except for the text of the study file, nothing in it names a machine or a user.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import optuna
from plotly.offline import get_plotlyjs
from rich.table import Table

from compress.errors import UsageError
from search.config import StudyConfig
from search.objective import Objective
from search.report.anonymize import anonymize_results
from search.report.exported_result import (
    RESULT_FILE,
    Accuracies,
    Comparison,
    ExportedResult,
    PowerComparison,
    SearchTime,
)
from search.report.formatting import markdown_table
from search.report.machine_readable import write_csv
from search.report.pages.study_page import write_page
from search.report.results import StudyResults
from search.report.tables import comparison_table
from search.storage.artifacts import read_artifact
from search.storage.study_record import record_of
from search.storage.trial_record import MODEL, read_trials
from search.study_file import self_contained_text

SPEEDUPS = (60, 130)
"""For the objective latency, the export says how long the search took to become this many times faster than the base.
"""
MAX_PAGE_BYTES = 2_000_000
"""A repository need not keep a larger page."""
NO_CHARTS = """window.Plotly = {newPlot: (name) => {
  const plot = document.getElementById(name);
  plot.textContent = "This chart needs plotly.js, which is not kept here; the page of `thrones report` has it.";
  plot.closest(".plot").style.height = "auto";
}};"""
"""Replaces plotly.js in the page: 4.8 MB, the same in every report."""


def write_results(
    folder: Path, study_file: Path, study: optuna.Study, config: StudyConfig, results: StudyResults
) -> list[str]:
    """Write or replace `folder`, at once or not at all; return lines on what was written and what was left out.

    Args:
        folder: Where to write. An existing folder is replaced only if it was exported, too.
        study_file: The study file; its text becomes part of the export.
        study: The stored study.
        config: Its configuration.
        results: Its results, as `load_results` reads them.

    Raises:
        UsageError: The best trial was not compared with the base, its model is not the one that was measured, or
            `folder` exists and was not exported.
    """
    if results.base is None or results.best is None or results.best_trial is None or not results.compared:
        raise UsageError(
            f"{study_file}: its best trial has not been compared with the base yet",
            remedy=f"`thrones run {study_file}` does it",
        )
    place = folder.resolve()
    if place.exists() and not (place / RESULT_FILE).is_file():
        remedy = "name a new folder, or an exported one"
        raise UsageError(f"{folder} exists and holds no {RESULT_FILE}", remedy=remedy)
    best = results.trials[results.best_trial]
    assert best.spec is not None  # it was compared
    model = _model(config, best.artifacts[MODEL], results.best.sha256)
    result = _result(study_file, study, config, results)
    anonymous = anonymize_results(results, study)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as unfinished:
        new = Path(unfinished) / "new"
        new.mkdir()
        (new / "model.tflite").write_bytes(model)
        (new / "spec.json").write_text(_json(best.spec.to_dict()), encoding="utf-8")
        (new / RESULT_FILE).write_text(result.to_json(), encoding="utf-8")
        (new / "table.md").write_text(_markdown(comparison_table(anonymous)), encoding="utf-8")
        write_csv(anonymous, new)
        left_out = _write_page(anonymous, new)
        names = sorted(path.name for path in new.iterdir())
        _replace(place, new, Path(unfinished) / "old")
    return [f"wrote {folder}: {', '.join(names)}", *left_out]


def _model(config: StudyConfig, artifact: str, wanted: str) -> bytes:
    """Return the bytes that were measured. Raises UsageError where the artifact has changed."""
    model = read_artifact(config, artifact)
    if sha256(model).hexdigest() != wanted:
        raise UsageError(f"artifact {artifact} has changed since it was measured: sha256 not {wanted[:12]}...")
    return model


def _result(study_file: Path, study: optuna.Study, config: StudyConfig, results: StudyResults) -> ExportedResult:
    base, best, number = results.base, results.best, results.best_trial
    assert base is not None and best is not None and number is not None  # `write_results` has checked them
    anonymous = anonymize_results(results, study)
    own = results.trials[number].figures
    assert own is not None  # it is complete
    energy = Comparison.of(base, best, lambda figures: figures.energy_mj)
    fom = Comparison.of(base, best, lambda figures: figures.fom, higher_is_better=True)
    return ExportedResult(
        name=results.name,
        road=str(results.objective),
        trial=number,
        sha256=best.sha256,
        accuracy_percent=Accuracies(
            validation=own.accuracy_percent, test=best.accuracy_percent, base_test=base.accuracy_percent
        ),
        latency_ms=Comparison.of(base, best, lambda figures: figures.latency_ms),
        energy_mj=PowerComparison(**energy.model_dump(), estimated=best.estimated),
        fom=PowerComparison(**fom.model_dump(), estimated=best.estimated),
        parameters=Comparison.of(base, best, lambda figures: figures.parameters),
        macs=Comparison.of(base, best, lambda figures: figures.macs),
        bytes=Comparison.of(base, best, lambda figures: figures.model_bytes),
        peak_memory_mb=Comparison.of(base, best, lambda figures: figures.peak_memory_mb),
        rule_percent=results.constraint_percent,
        required_percent=results.required_percent,
        data=results.data,
        base=record_of(study).base_key,
        seed=config.seed,
        device=anonymous.device,
        meter=anonymous.meter,
        plan=best.plan,
        environment=anonymous.environment,
        trials=_trials(results),
        time=_time(study, results, base.latency_ms),
        command=f"thrones run {_inside(study_file)}",
        versions={name: _version(name) for name in ("thrones", "optuna", "tensorflow")},
        study=self_contained_text(study_file),
    )


def _trials(results: StudyResults) -> dict[str, int]:
    counts = Counter(trial.state.name.lower() for trial in results.trials)
    feasible = sum(trial.feasible for trial in results.trials)
    return {"all": len(results.trials), **counts, "complete and accurate enough": feasible}


def _time(study: optuna.Study, results: StudyResults, base_ms: float) -> SearchTime:
    records = read_trials(study)
    start = min(record.start for record in records if record.start)
    ends = {record.number: (record.end - start).total_seconds() / 60 for record in records if record.end}
    seconds = sum(sum(trial.seconds.values()) for trial in results.trials)
    is_latency = results.objective is Objective.LATENCY
    return SearchTime(
        seconds_of_all_trials=round(seconds, 1),
        wall_minutes=round(max(ends.values()), 2),
        best_found_after_minutes=round(ends[results.best_trial or 0], 2),
        speedup_reached_after_minutes=_speedups(results, ends, base_ms) if is_latency else None,
    )


def _speedups(results: StudyResults, ends: Mapping[int, float], base_ms: float) -> dict[str, float | None]:
    """Return when a feasible candidate first reached each of SPEEDUPS, in minutes; `ends`: by trial, in minutes."""
    found: dict[str, float | None] = {}
    for speedup in SPEEDUPS:
        minutes = [
            ends[trial.number]
            for trial in results.trials
            if trial.feasible and trial.figures and base_ms / trial.figures.latency_ms >= speedup
        ]
        found[str(speedup)] = round(min(minutes), 2) if minutes else None
    return found


def _inside(path: Path) -> str:
    """Return the path relative to the working directory, or the bare name of a file elsewhere."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.name


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _markdown(table: Table) -> str:
    """Return a table of the terminal with title and caption; each line of the caption becomes a paragraph."""
    heads = [str(column.header) for column in table.columns]
    right = [number for number, column in enumerate(table.columns) if column.justify == "right"]
    rows = zip(*([str(cell) for cell in column.cells] for column in table.columns), strict=True)
    paragraphs = [text for text in str(table.caption or "").splitlines() if text]
    return "\n\n".join([f"# {table.title}", markdown_table(heads, rows, right), *paragraphs]) + "\n"


def _write_page(results: StudyResults, folder: Path) -> list[str]:
    """Write report.html, without plotly.js where that makes it too large for a repository; return what was left out."""
    path = write_page(results, folder)
    if path.stat().st_size < MAX_PAGE_BYTES:
        return []
    page = path.read_text(encoding="utf-8").replace(get_plotlyjs(), NO_CHARTS)
    size = len(page.encode())
    if size < MAX_PAGE_BYTES:
        path.write_text(page, encoding="utf-8")
        return ["report.html there has its tables but no charts: plotly.js, which draws them, has 4.8 MB"]
    path.unlink()
    return [f"no report.html there: without its charts it still has {size / 1e6:.1f} MB"]


def _replace(place: Path, new: Path, old: Path) -> None:
    """Move `new` to `place`; move what was there to `old`, and back where that fails."""
    if not place.exists():
        new.rename(place)
        return
    place.rename(old)
    try:
        new.rename(place)
    except BaseException:
        old.rename(place)
        raise
