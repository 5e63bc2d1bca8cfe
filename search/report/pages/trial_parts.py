"""The parts of a trial's page; each returns HTML, "" where the trial has nothing to show."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from html import escape
from pathlib import Path

from compress.spec import CompressionSpec
from edge.measuring.measurement import Measurement, Window
from search.report import tables
from search.report.base_comparison import figure_rows
from search.report.formatting import (
    NONE,
    mark_estimated,
    percent,
    pluralize,
    significant,
    text_or_none,
)
from search.report.pages.html import facts_html, soft_html, table_html
from search.report.results import StudyResults, TrialResult
from search.strategy.warm_start import weights_only

WINDOW_COLUMNS = (
    "attempt",
    "images",
    "length [s]",
    "mean [ms]",
    "median [ms]",
    "p90 [ms]",
    "power [W]",
    "energy [mJ]",
)


def figures_html(trial: TrialResult) -> str:
    """Return accuracy and speed."""
    figures = trial.figures
    if figures is None:
        return ""
    accuracy = (f"{figures.accuracy_of} accuracy [%]", percent(figures.accuracy_percent))
    return facts_html([accuracy, *figure_rows(figures)])


def spec_html(spec: CompressionSpec | None) -> str:
    """Return every field of the spec."""
    if spec is None:
        return ""
    rows = [("channels", _widths(spec))]
    for field in fields(spec):
        if field.name != "parent":
            rows.append((field.name.replace("_", " "), _field_text(spec, field.name)))
    return facts_html(rows)


def layers_html(results: StudyResults, trial: TrialResult) -> str:
    """Return the network layer by layer against the base."""
    layers = tables.layers_of(trial, results.base_architecture)
    if not layers:
        return ""
    return table_html(tables.LAYER_COLUMNS, map(tables.layer_cells, layers), right=(1, 2, 3))


def parent_chain_html(
    trial: TrialResult, trained: Mapping[CompressionSpec, int], links: Mapping[str, str]
) -> str:
    """Return the candidates back to the base: each was trained from the weights of the next.

    Args:
        trial: The trial.
        trained: The first trial that trained each network.
        links: The page of each trial that has one, by "trial <number>".
    """
    if trial.spec is None:
        return ""
    rows = []
    spec: CompressionSpec | None = trial.spec
    while spec is not None:
        name = _trained_in(spec, trial, trained)
        rows.append((name, pluralize(spec.epochs, "epoch"), _widths(spec)))
        spec = spec.parent
    rows.append(("the base", NONE, "the strongest channels of the unpruned network"))
    return table_html(("trained in", "for", "channels"), rows, links=links)


def phases_html(trial: TrialResult) -> str:
    """Return who worked when, and for how long."""
    if not trial.seconds:
        return ""
    rows = []
    for each in trial.phases:
        start = f"{datetime.fromtimestamp(each.start_s):%F %T}"
        rows.append((str(each.phase), start, significant(each.seconds), each.device))
    table = table_html(("phase", "began", "seconds", "device"), rows, right=(2,))
    if not trial.worker:
        return table
    return soft_html(f"Worker: {trial.worker}") + table


def measurement_html(measurement: Measurement | None) -> str:
    """Return medians, spread and environment, and all windows, also those of rejected attempts."""
    if measurement is None:
        return ""
    windows = []
    for number, attempt in enumerate(measurement.rejected, 1):
        windows += [_window_cells(f"{number}, rejected", window) for window in attempt.windows]
    windows += [_window_cells("accepted", window) for window in measurement.windows]
    raw = table_html(WINDOW_COLUMNS, windows, right=range(1, len(WINDOW_COLUMNS)))
    summary = f"<summary>{pluralize(len(windows), 'window')}, raw</summary>"
    return f"{facts_html(_measurement_facts(measurement))}<details>{summary}{raw}</details>"


def operators_html(trial: TrialResult) -> str:
    """Return how often the model has each operator."""
    if not trial.operators:
        return ""
    rows = [(name, str(number)) for name, number in sorted(trial.operators.items())]
    return table_html(("operator", "number"), rows, right=(1,))


def artifacts_html(trial: TrialResult, folder: Path) -> str:
    """Return each artifact by name, as a link where it is in the study's own folder."""
    if not trial.artifacts:
        return ""
    items = []
    for name, key in sorted(trial.artifacts.items()):
        text = escape(f"{name}: artifact {key}")
        if (folder / "artifacts" / key).is_file():
            text = f'<a href="../artifacts/{escape(key)}" download="{escape(name)}">{text}</a>'
        items.append(f"<li>{text}</li>")
    return f"<ul>{''.join(items)}</ul>"


def _widths(spec: CompressionSpec) -> str:
    return " ".join(map(str, spec.architecture().widths))


def _field_text(spec: CompressionSpec, name: str) -> str:
    if name == "pruning_ratios":
        return " ".join(map(significant, spec.pruning_ratios))
    if name == "dropped_blocks":
        return " ".join(map(str, spec.dropped_blocks)) or NONE
    value = getattr(spec, name)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _trained_in(
    spec: CompressionSpec, trial: TrialResult, trained: Mapping[CompressionSpec, int]
) -> str:
    number = trained.get(weights_only(spec))
    if number is None and spec == trial.spec:
        number = trial.number
    if number is None:
        return "another study's"
    if number == trial.number:
        return "this trial"
    return f"trial {number}"


def _measurement_facts(measurement: Measurement) -> list[tuple[str, str]]:
    def power_text(value: float | None) -> str:
        return mark_estimated(significant(value), measurement.estimated)

    plan = measurement.plan
    rows = [
        ("latency, median of the windows [ms]", significant(measurement.latency_ms)),
        ("spread of the windows [%]", significant(100 * measurement.spread)),
        ("90th percentile [ms]", significant(measurement.p90_ms)),
        ("energy per image [mJ]", power_text(measurement.energy_mj)),
        ("net of the idle power [mJ]", power_text(measurement.net_energy_mj)),
        ("largest power [W]", power_text(measurement.max_power_w)),
        ("peak memory [MB]", significant(measurement.peak_memory_mb)),
        ("measurement protocol, threads", f"{plan.name}, {plan.threads}"),
        ("device, meter", f"{measurement.device}, {measurement.meter}"),
    ]
    for name, value in vars(measurement.environment).items():
        rows.append((name, text_or_none(value)))
    for attempt in measurement.rejected:
        rows.append(("rejected attempt", attempt.fault))
    return rows


def _window_cells(attempt: str, window: Window) -> tuple[str, ...]:
    return (
        attempt,
        f"{window.images:,}",
        significant(window.length_s, 4),
        significant(window.mean_ms, 4),
        significant(window.p50_ms, 4),
        significant(window.p90_ms, 4),
        significant(window.power_w, 4),
        significant(window.energy_mj, 4),
    )
