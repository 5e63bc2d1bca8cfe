"""A study as one self-contained HTML page with pages of single trials beside it, and its trials as CSV."""

from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import pandas
from plotly.offline import get_plotlyjs

from compress.io import atomic_write
from compress.spec import CompressionSpec
from edge.measuring.measurement import DEFINITIONS
from search.report import charts, comparison, tables
from search.report.formatting import NONE
from search.report.pages.html import table_html
from search.report.pages.trial_page import first_trained, remove_stale_pages, write_trial_pages
from search.report.results import StudyResults, TrialResult
from search.report.timeline import timeline_chart

CHARTS = (
    charts.history_chart,
    charts.accuracy_chart,
    charts.importances_chart,
    charts.curves_chart,
    charts.layers_chart,
    charts.seconds_chart,
    timeline_chart,
)
ROWS = 1000
"""The page's table holds so many trials; `trials.csv` has all."""


def write_report(results: StudyResults, folder: Path) -> Path:
    """Write `report.html` and the pages of single trials into `folder`, made where it is missing; the page's path."""
    links = write_trial_pages(results, folder)
    page = write_page(results, folder, links)
    remove_stale_pages(folder, links)  # last: until now the old page led there
    return page


def write_page(results: StudyResults, folder: Path, links: Mapping[str, str] | None = None) -> Path:
    """Write `report.html` alone; `links` leads from a trial's number to its page."""
    compared, columns = comparison.comparison_rows(results), comparison.comparison_columns(results)
    layers = [tables.layer_cells(layer) for layer in tables.layers(results)]
    shown = most_relevant(results, links or {})
    trials = [(*tables.trial_cells(results, trial), tables.describe_model(trial)) for trial in shown]
    definitions = [(metric.label, DEFINITIONS.get(metric.name, "")) for metric in comparison.METRICS]
    page = Template(Path(__file__).with_name("study.html").read_text(encoding="utf-8")).substitute(
        {chart.__name__: charts.as_html(chart.__name__, chart(results)) for chart in CHARTS},
        title=escape(results.name),
        verdict=escape(comparison.verdict(results)),
        counts=escape(tables.counts(results)),
        plotly=get_plotlyjs(),
        facts=table_html((), _facts(results), kind="facts"),
        comparison=table_html(columns, compared, (1, 2))
        + "".join(f'<p class="soft">{line}</p>' for line in comparison.footnote(compared)),
        savings=_savings(results),
        layers=table_html(tables.LAYER_COLUMNS, layers, (1, 2, 3)) if layers else "",
        about_trials=_about_trials(results, len(shown), len(links or {})),
        trials=table_html((*tables.trial_columns(results), "model"), trials, (0, 2, 3, 4), "sortable", links),
        environment=table_html((), _environment(results), kind="facts"),
        definitions=table_html((), [row for row in definitions if row[1]], kind="facts"),
    )
    path = folder / "report.html"
    atomic_write(path, page.encode())
    return path


def write_csv(results: StudyResults, folder: Path) -> Path:
    """Write `trials.csv` into `folder`, one row a trial: spec, figures, seconds; return its path."""
    trained = first_trained(results)
    rows = [_csv_row(trial, trained) for trial in results.trials]
    columns = list(dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row))
    # convert_dtypes: else whole numbers become floats beside the gap of a trial without them.
    frame = pandas.DataFrame(rows, columns=columns or ["number"]).convert_dtypes()
    path = folder / "trials.csv"
    atomic_write(path, frame.to_csv(index=False, lineterminator="\n").encode())
    return path


def most_relevant(results: StudyResults, links: Mapping[str, str]) -> list[TrialResult]:
    """At most ROWS trials in their order: those with a page, then the best of the accurate enough, then the newest."""
    sign = -1 if results.road == "fom" else 1

    def place(trial: TrialResult) -> tuple[float, ...]:
        if str(trial.number) in links:
            return 0, 0
        good = trial.feasible and trial.value is not None
        return (1, sign * (trial.value or 0.0)) if good else (2, -trial.number)

    return sorted(sorted(results.trials, key=place)[:ROWS], key=lambda trial: trial.number)


def _about_trials(results: StudyResults, shown: int, pages: int) -> str:
    lines = ["A click on a heading sorts by that column."]
    if pages:
        lines.append(
            f"A number that is a link leads to the trial's own page: {pages} have one - the best, those on the front, "
            "the finalists, and what failed last."
        )
    if shown < len(results.trials):
        lines.append(
            f"{shown:,} of {len(results.trials):,} trials stand here: those with a page, then the best of the accurate "
            "enough, then the newest. All are in trials.csv."
        )
    return " ".join(lines)


def _savings(results: StudyResults) -> str:
    rows = tables.saving_rows(results)
    if not rows:
        return '<p class="soft">No trial has been given up early yet.</p>'
    return f'<p class="soft">{tables.SAVING_MEANS}</p>{table_html(tables.SAVING_COLUMNS, rows, (1, 2, 3, 4))}'


def _facts(results: StudyResults) -> list[tuple[str, str]]:
    return [
        ("road", f"{'highest' if results.road == 'fom' else 'lowest'} {tables.objective_title(results)}"),
        ("rule", tables.rule(results)),
        ("data", f"{results.data}, {results.data_source}"),
        ("device, meter", f"{results.device}, {results.meter}"),
        ("trials", tables.counts(results)),
    ]


def _environment(results: StudyResults) -> list[tuple[str, str]]:
    """Device, meter, plans and what was recorded of the machine; with a warning where power is estimated."""
    figures = [model for model in (results.best, results.base, *(t.figures for t in results.trials)) if model]
    powers = {"estimated, not measured" if model.estimated else "measured" for model in figures if model.power_w}
    plans = ", ".join(sorted({model.plan for model in figures})) or NONE
    return [
        ("device", results.device),
        ("meter", results.meter),
        ("power and energy", ", ".join(sorted(powers)) or "not measured"),
        ("plans", plans),
        *((str(key), NONE if value is None else str(value)) for key, value in results.environment.items()),
    ]


def _csv_row(trial: TrialResult, trained: Mapping[CompressionSpec, int]) -> dict[str, Any]:
    """A trial flattened; accuracy in percent, ms, mJ, W, MB, seconds; the parent is told by its trial's number."""
    row: dict[str, Any] = {"number": trial.number, "state": trial.state, "feasible": trial.feasible}
    row |= {"value": trial.value, "reason": trial.reason}
    if trial.worker:
        row |= {"worker": trial.worker}
    if trial.spec:
        spec = trial.spec.to_dict()
        fractions = spec.pop("fractions")
        names = ["fraction_stem", *(f"fraction_{block}" for block in range(len(fractions) - 1))]
        row |= dict(zip(names, fractions, strict=True))
        row |= {**spec, "dropped_blocks": " ".join(map(str, trial.spec.dropped_blocks))}
        row["parent"] = trained.get(trial.spec.parent) if trial.spec.parent else None
    if trial.figures:
        row |= {**asdict(trial.figures), "fom": trial.figures.fom}
    return row | {f"seconds_{phase}": seconds for phase, seconds in trial.seconds.items()}
