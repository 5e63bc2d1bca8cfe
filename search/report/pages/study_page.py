"""A study as one self-contained HTML page, with pages of single trials beside it."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from compress.io import atomic_write
from edge.measuring.measurement import DEFINITIONS
from search.report import base_comparison as comparison
from search.report import sentences, tables
from search.report.charts.catalog import CHARTS
from search.report.charts.style import page_html
from search.report.formatting import NONE, text_or_none
from search.report.pages.html import facts_html, soft_html, table_html
from search.report.pages.trial_page import remove_stale_pages, write_trial_pages
from search.report.results import StudyResults, TrialResult

MAX_ROWS = 1000
"""The number of trials in the page's table; `trials.csv` has all."""


def write_report(results: StudyResults, folder: Path) -> Path:
    """Write `report.html` and the pages of single trials into `folder`; return the path.

    `folder` is made if it is missing.
    """
    links = write_trial_pages(results, folder)
    page = write_page(results, folder, links)
    remove_stale_pages(folder, links)  # last: until now the old page led there
    return page


def write_page(results: StudyResults, folder: Path, links: Mapping[str, str] | None = None) -> Path:
    """Write `report.html` alone and return its path. `links`: from a trial's number to its page."""
    template = Template(Path(__file__).with_name("study.html").read_text(encoding="utf-8"))
    page = template.substitute(
        {chart.name: page_html(chart.name, chart.draw(results)) for chart in CHARTS},
        title=escape(results.name),
        verdict=escape(comparison.verdict(results)),
        counts=escape(sentences.trial_counts(results)),
        plotly=get_plotlyjs(),
        facts=facts_html(_facts(results)),
        comparison=_comparison(results),
        savings=_savings(results),
        layers=_layers(results),
        trials=_trials(results, links or {}),
        environment=facts_html(_environment(results)),
        definitions=facts_html(_definitions()),
    )
    path = folder / "report.html"
    atomic_write(path, page.encode())
    return path


def most_relevant(results: StudyResults, links: Mapping[str, str]) -> list[TrialResult]:
    """Return at most MAX_ROWS trials: those with a page, the best feasible, the newest others."""

    def rank(trial: TrialResult) -> tuple[float, float]:
        if str(trial.number) in links:
            return 0, 0
        if not trial.feasible or trial.value is None:
            return 2, -trial.number
        if results.objective.is_maximized:
            return 1, -trial.value
        return 1, trial.value

    relevant = sorted(results.trials, key=rank)[:MAX_ROWS]
    return sorted(relevant, key=lambda trial: trial.number)


def _facts(results: StudyResults) -> list[tuple[str, str]]:
    return [
        ("objective", sentences.objective_text(results)),
        ("accuracy constraint", sentences.constraint_text(results)),
        ("data", f"{results.data}, {results.data_source}"),
        ("device, meter", f"{results.device}, {results.meter}"),
        ("trials", sentences.trial_counts(results)),
    ]


def _comparison(results: StudyResults) -> str:
    rows = comparison.comparison_rows(results)
    parts = [table_html(comparison.comparison_columns(results), rows, right=(1, 2))]
    parts += map(soft_html, comparison.footnotes(rows))
    return "".join(parts)


def _savings(results: StudyResults) -> str:
    rows = tables.saving_rows(results)
    if not rows:
        return soft_html("No trial has been pruned yet.")
    table = table_html(tables.SAVING_COLUMNS, rows, right=(1, 2, 3, 4))
    return soft_html(tables.SAVING_MEANS) + table


def _layers(results: StudyResults) -> str:
    layers = tables.best_layers(results)
    if not layers:
        return ""
    return table_html(tables.LAYER_COLUMNS, map(tables.layer_cells, layers), right=(1, 2, 3))


def _trials(results: StudyResults, links: Mapping[str, str]) -> str:
    shown = most_relevant(results, links)
    columns = (*tables.trial_columns(results), "model")
    rows = []
    for trial in shown:
        rows.append((*tables.trial_cells(results, trial), sentences.describe_model(trial)))
    table = table_html(columns, rows, right=(0, 2, 3, 4), kind="sortable", links=links)
    return soft_html(_about_trials(results, len(shown), len(links))) + table


def _about_trials(results: StudyResults, shown: int, pages: int) -> str:
    lines = ["Click on a heading to sort by that column."]
    if pages:
        lines.append(
            f"A number that is a link leads to the trial's own page. {pages} have one: the best, "
            "those on the front, the final trainings, and the last that failed."
        )
    if shown < len(results.trials):
        lines.append(
            f"The table has {shown:,} of {len(results.trials):,} trials: those with a page, then "
            "the best feasible ones, then the newest. All are in trials.csv."
        )
    return " ".join(lines)


def _environment(results: StudyResults) -> list[tuple[str, str]]:
    """Return device, meter, how power was found, protocols, and what is known of the machine."""
    powers = set()
    protocols = set()
    for figures in (results.best, results.base, *(trial.figures for trial in results.trials)):
        if figures is None:
            continue
        protocols.add(figures.plan)
        if figures.power_w and figures.estimated:
            powers.add("estimated, not measured")
        elif figures.power_w:
            powers.add("measured")
    rows = [
        ("device", results.device),
        ("meter", results.meter),
        ("power and energy", ", ".join(sorted(powers)) or "not measured"),
        ("measurement protocols", ", ".join(sorted(protocols)) or NONE),
    ]
    for name, value in results.environment.items():
        rows.append((name, text_or_none(value)))
    return rows


def _definitions() -> list[tuple[str, str]]:
    rows = []
    for metric in comparison.METRICS:
        if metric.name in DEFINITIONS:
            rows.append((metric.label, DEFINITIONS[metric.name]))
    return rows
