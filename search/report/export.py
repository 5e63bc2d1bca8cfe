"""The best of a study as a folder for the repository: the measured bytes, what they are, and how they were found.

But for the text of the study file, nothing in it names a machine or a user.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import optuna
from plotly.offline import get_plotlyjs
from rich.table import Table

from compress.errors import UsageError
from edge.measuring.measurement import Measurement
from search.config import StudyConfig
from search.report.pages.study_page import write_csv, write_page
from search.report.results import Figures, StudyResults
from search.report.tables import comparison_table
from search.storage.artifacts import read_artifact
from search.study_file import self_contained_text

RESULT = "result.json"
"""A folder that holds this one is ours, and is replaced."""
SPEEDUPS = (60, 130)
"""How long the search took to become so many times faster than the base is told, on the road latency."""
LARGEST_PAGE = 2_000_000
"""Bytes of a page that a repository is asked to keep."""
NO_CHARTS = """window.Plotly = {newPlot: (name) => {
  const plot = document.getElementById(name);
  plot.textContent = "This chart needs plotly.js, which is not kept here; the page of `thrones report` has it.";
  plot.closest(".plot").style.height = "auto";
}};"""
"""Stands in the page where plotly.js was: 4.8 MB, the same in every report."""


def write_results(
    folder: Path, study_file: Path, study: optuna.Study, config: StudyConfig, results: StudyResults
) -> list[str]:
    """Write or replace `folder`, at once or not at all; what was written and what was left out, as lines.

    Raises UsageError when the best trial was not compared with the base, when its model is not the one that was
    measured, and for an existing folder that is not ours.
    """
    base, best, number = results.base, results.best, results.best_trial
    if base is None or best is None or number is None or not results.compared:
        raise UsageError(
            f"{study_file}: its best trial has not been compared with the base yet; `thrones run {study_file}` does it"
        )
    place = folder.resolve()
    if place.exists() and not (place / RESULT).is_file():
        raise UsageError(f"{folder} is there and holds no {RESULT}; name a new folder, or one of an earlier call")
    trial = study.get_trials(deepcopy=False)[number]
    model = _model(config, trial.user_attrs["artifact model.tflite"], best.sha256)
    shown = _without_machine(results, study)
    about = {
        "name": results.name,
        "road": results.road,
        "trial": number,
        "sha256": best.sha256,
        **_figures(base, best, trial.user_attrs["candidate"]["accuracy_percent"]),
        "rule_percent": results.rule_percent,
        "required_percent": results.required_percent,
        "data": results.data,
        "base": study.user_attrs.get("identity", {}).get("base"),
        "seed": config.seed,
        "device": shown.device,
        "meter": shown.meter,
        "plan": best.plan,
        "environment": shown.environment,
        "trials": _trials(results),
        "time": _time(study, results, base.latency_ms),
        "command": f"thrones run {_inside(study_file)}",
        "versions": {name: _version(name) for name in ("thrones", "optuna", "tensorflow")},
        "study": self_contained_text(study_file),
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as unfinished:
        new = Path(unfinished) / "new"
        new.mkdir()
        (new / "model.tflite").write_bytes(model)
        (new / "spec.json").write_text(_json(trial.user_attrs["spec"]), encoding="utf-8")
        (new / RESULT).write_text(_json(about), encoding="utf-8")
        (new / "table.md").write_text(_markdown(comparison_table(shown)), encoding="utf-8")
        write_csv(shown, new)
        left_out = _write_page(shown, new)
        names = sorted(path.name for path in new.iterdir())
        _replace(place, new, Path(unfinished) / "old")
    return [f"wrote {folder}: {', '.join(names)}", *left_out]


def _model(config: StudyConfig, artifact: str, wanted: str) -> bytes:
    """The bytes that were measured."""
    model = read_artifact(config, artifact)
    if sha256(model).hexdigest() != wanted:
        raise UsageError(f"artifact {artifact} has changed since it was measured: sha256 not {wanted[:12]}...")
    return model


def _figures(base: Figures, best: Figures, validation_percent: float) -> dict[str, Any]:
    def pair(get: Callable[[Figures], float | None], higher_is_better: bool = False) -> dict[str, Any]:
        was, now = get(base), get(best)
        above, below = (now, was) if higher_is_better else (was, now)
        return {"base": was, "best": now, "ratio": above / below if above is not None and below else None}

    return {
        "accuracy_percent": {
            "validation": validation_percent,
            "test": best.accuracy_percent,
            "base_test": base.accuracy_percent,
        },
        "latency_ms": pair(lambda figures: figures.latency_ms),
        "energy_mj": {**pair(lambda figures: figures.energy_mj), "estimated": best.estimated},
        "fom": {**pair(lambda figures: figures.fom, higher_is_better=True), "estimated": best.estimated},
        "parameters": pair(lambda figures: figures.parameters),
        "macs": pair(lambda figures: figures.macs),
        "bytes": pair(lambda figures: figures.model_bytes),
        "peak_memory_mb": pair(lambda figures: figures.peak_memory_mb),
    }


def _trials(results: StudyResults) -> dict[str, int]:
    counts = Counter(trial.state.lower() for trial in results.trials)
    kept = sum(trial.feasible for trial in results.trials)
    return {"all": len(results.trials), **counts, "complete and accurate enough": kept}


def _time(study: optuna.Study, results: StudyResults, base_ms: float) -> dict[str, Any]:
    """How long it took; minutes count from the start of the first trial, pauses between runs included."""
    stored = study.get_trials(deepcopy=False)
    start = min(trial.datetime_start for trial in stored if trial.datetime_start)
    ends = {
        trial.number: (trial.datetime_complete - start).total_seconds() / 60
        for trial in stored
        if trial.datetime_complete
    }
    about: dict[str, Any] = {
        "seconds_of_all_trials": round(sum(sum(trial.seconds.values()) for trial in results.trials), 1),
        "wall_minutes": round(max(ends.values()), 2),
        "best_found_after_minutes": round(ends[results.best_trial or 0], 2),
    }
    if results.road == "latency":
        kept = [(ends[t.number], base_ms / t.figures.latency_ms) for t in results.trials if t.feasible and t.figures]
        reached = {least: [minutes for minutes, speedup in kept if speedup >= least] for least in SPEEDUPS}
        about["speedup_reached_after_minutes"] = {
            str(least): round(min(minutes), 2) if minutes else None for least, minutes in reached.items()
        }
    return about


def _without_machine(results: StudyResults, study: optuna.Study) -> StudyResults:
    """The same without what names a machine or a user: hosts, paths, and the reasons of faults, which speak of both."""
    measured = study.user_attrs["comparison"]["best"]["measurement"]
    return replace(
        results,
        data_source=results.data,
        device=_kind(measured["device"]),
        meter=measured["meter"] if measured["estimated"] else _kind(measured["meter"]),
        environment={key: value for key, value in measured["environment"].items() if key != "host"},
        trials=tuple(
            replace(
                trial,
                reason=trial.reason if trial.state in ("COMPLETE", "PRUNED") else "",
                worker="",
                phases=tuple(replace(phase, board=_kind(phase.board)) for phase in trial.phases),
            )
            for trial in results.trials
        ),
    )


def nameless(measured: Measurement) -> Measurement:
    """The same measurement without the host's name, and with kinds in place of URLs."""
    meter = measured.meter if measured.estimated else _kind(measured.meter)
    return replace(
        measured, device=_kind(measured.device), meter=meter, environment=replace(measured.environment, host="")
    )


def _kind(url: str) -> str:
    """`ssh:` of ssh://pi@raspberrypi.local: what it is, not which."""
    return url.split(":")[0] + ":"


def _inside(path: Path) -> str:
    """The path as seen from here, or the name alone of a file that lies elsewhere."""
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
    """A table of the terminal with title and caption; each line of the caption becomes a paragraph."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"

    sides = ["---:" if column.justify == "right" else "---" for column in table.columns]
    heads = [str(column.header) for column in table.columns]
    rows = zip(*([str(cell) for cell in column.cells] for column in table.columns), strict=True)
    paragraphs = [text for text in str(table.caption or "").splitlines() if text]
    lines = [line(heads), line(sides), *map(line, rows)]
    return "\n\n".join([f"# {table.title}", "\n".join(lines), *paragraphs]) + "\n"


def _write_page(results: StudyResults, folder: Path) -> list[str]:
    """Write report.html, without plotly.js where that makes it too large for a repository; what was left out."""
    path = write_page(results, folder)
    if path.stat().st_size < LARGEST_PAGE:
        return []
    page = path.read_text(encoding="utf-8").replace(get_plotlyjs(), NO_CHARTS)
    size = len(page.encode())
    if size < LARGEST_PAGE:
        path.write_text(page, encoding="utf-8")
        return ["report.html there has its tables but no charts: plotly.js, which draws them, has 4.8 MB"]
    path.unlink()
    return [f"no report.html there: without its charts it still has {size / 1e6:.1f} MB"]


def _replace(place: Path, new: Path, old: Path) -> None:
    """Put `new` at `place`; what was there goes to `old`, and comes back when that fails."""
    if not place.exists():
        new.rename(place)
        return
    place.rename(old)
    try:
        new.rename(place)
    except BaseException:
        old.rename(place)
        raise
