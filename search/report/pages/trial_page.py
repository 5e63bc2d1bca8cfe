"""A page for each trial that a person would want to read, beside the report: small, without scripts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

from compress.io import atomic_write
from compress.spec import CompressionSpec
from edge.measuring.measurement import Measurement, Window
from search.report import tables
from search.report.comparison import METRICS
from search.report.formatting import NONE, marked, percent, pluralize, significant
from search.report.pages.html import table_html
from search.report.results import StudyResults, TrialResult
from search.storage.study_state import INTERRUPTED
from search.strategy.warm_start import weights_only

FOLDER = "trials"
FRONT, FINALISTS, FAILED = 12, 10, 5
"""So many of each have a page: of the front those nearest to the rule, of the others the newest."""
WINDOW_COLUMNS = ("attempt", "images", "length [s]", "mean [ms]", "median [ms]", "p90 [ms]", "power [W]", "energy [mJ]")
CURVE_WIDTH, CURVE_HEIGHT = 560, 180


def worth_reading(results: StudyResults) -> dict[int, str]:
    """The trials that have a page, and why: the best, the front, the finalists, and what failed last."""
    why: dict[int, list[str]] = {}
    if results.best_trial is not None:
        why[results.best_trial] = ["the best candidate"]
    front = [(trial.number, trial.figures.accuracy_percent) for trial in results.front if trial.figures]
    nearest = sorted(front, key=lambda place: abs(place[1] - results.rule_percent))[:FRONT]
    finalists = [trial.number for trial in results.trials if trial.finalist_of is not None]
    failed = [t.number for t in results.trials if t.state == "FAIL" and t.reason and t.reason != INTERRUPTED]
    for numbers, reason in (
        ([number for number, _ in nearest], "on the front of accuracy and latency"),
        (finalists[-FINALISTS:], "a finalist, trained on for longer"),
        (failed[-FAILED:], "among the last that failed"),
    ):
        for number in numbers:
            why.setdefault(number, []).append(reason)
    return {number: ", ".join(why[number]) for number in sorted(why)}


def write_trial_pages(results: StudyResults, folder: Path) -> dict[str, str]:
    """Write `trials/<number>.html` for each trial worth reading; its address as seen from `folder`, by its number.

    Each appears whole. Pages of earlier reports stay: `remove_stale_pages` takes them away when none leads there.
    """
    why = worth_reading(results)
    links = {str(number): f"{FOLDER}/{number}.html" for number in why}
    trained = first_trained(results)
    near = {f"trial {number}": f"{number}.html" for number in why}
    template = Template(Path(__file__).with_name("trial.html").read_text(encoding="utf-8"))
    for trial in results.trials:
        if trial.number in why:
            ancestry = _ancestry(trial, trained, near)
            page = _page(results, trial, why[trial.number], ancestry, folder)
            atomic_write(folder / links[str(trial.number)], template.substitute(page).encode())
    return links


def remove_stale_pages(folder: Path, links: Mapping[str, str]) -> None:
    """Remove the pages of earlier reports that `links` does not name, and nothing else."""
    for page in (folder / FOLDER).glob("*.html"):
        if re.fullmatch(r"\d+", page.stem) and page.stem not in links:
            page.unlink(missing_ok=True)


def _page(results: StudyResults, trial: TrialResult, why: str, ancestry: str, folder: Path) -> dict[str, str]:
    measurement = Measurement.from_json(trial.measurement_json) if trial.measurement_json else None
    layers = [tables.layer_cells(layer) for layer in tables.layers_of(trial, results.base_architecture)]
    parts = (
        ("Figures", _figures(trial)),
        ("Network", table_html((), _spec(trial.spec), kind="facts") if trial.spec else ""),
        ("Whose weights it began with", ancestry),
        ("Layers", table_html(tables.LAYER_COLUMNS, layers, (1, 2, 3)) if layers else ""),
        ("Learning curve", _curve(trial.curve, results.required_percent)),
        ("Phases", _phases(trial)),
        ("Measurement", _measurement(measurement) if measurement else ""),
        ("Operators", table_html(("operator", "number"), _operators(trial), (1,)) if trial.operators else ""),
        ("Artifacts", _artifacts(trial, folder)),
    )
    return {
        "title": escape(f"{results.name}, trial {trial.number}"),
        "state": escape(f"{tables.STATES[trial.state]}; {why}"),
        "reason": f'<p class="reason">{escape(trial.reason)}</p>' if trial.reason else "",
        "parts": "\n".join(f"<h2>{heading}</h2>\n{part}" for heading, part in parts if part),
    }


def _figures(trial: TrialResult) -> str:
    figures = trial.figures
    if figures is None:
        return ""
    rows = [(f"{figures.accuracy_of} accuracy [%]", percent(figures.accuracy_percent))]
    for metric in METRICS:
        value = metric.get(figures)
        if value is not None:
            rows.append((metric.label, marked(metric.show(value), metric.power and figures.estimated)))
    return table_html((), rows, kind="facts")


def _spec(spec: CompressionSpec) -> list[tuple[str, str]]:
    values = {field.name: getattr(spec, field.name) for field in fields(spec) if field.name != "parent"}
    values["pruning_ratios"] = " ".join(map(significant, spec.pruning_ratios))
    values["dropped_blocks"] = " ".join(map(str, spec.dropped_blocks)) or NONE
    rows = [("channels", " ".join(map(str, spec.architecture().widths)))]
    shown = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
    return rows + [(name.replace("_", " "), value) for name, value in shown.items()]


def first_trained(results: StudyResults) -> dict[CompressionSpec, int]:
    """For each network that was trained, the first trial that did."""
    found: dict[CompressionSpec, int] = {}
    for trial in results.trials:
        if trial.spec is not None and trial.curve:
            found.setdefault(weights_only(trial.spec), trial.number)
    return found


def _ancestry(trial: TrialResult, trained: Mapping[CompressionSpec, int], links: Mapping[str, str]) -> str:
    """The candidates from this one back to the base, each trained on from the next."""
    rows, spec = [], trial.spec
    if spec is None:
        return ""
    while spec is not None:
        number = trained.get(weights_only(spec), trial.number if spec == trial.spec else None)
        name = "this trial" if number == trial.number else "another study's" if number is None else f"trial {number}"
        rows.append((name, pluralize(spec.epochs, "epoch"), " ".join(map(str, spec.architecture().widths))))
        spec = spec.parent
    rows.append(("the base", NONE, "the strongest channels of the unpruned network"))
    return table_html(("trained in", "for", "channels"), rows, links=links)


def _curve(curve: Sequence[float], required_percent: float) -> str:
    """The validation accuracy after each epoch, with what the search requires as a dashed line."""
    if not curve:
        return ""
    low, high = min(*curve, required_percent) - 1, max(*curve, required_percent) + 1

    def y(value: float) -> float:
        return 10 + (CURVE_HEIGHT - 20) * (high - value) / (high - low)

    step = (CURVE_WIDTH - 70) / max(1, len(curve) - 1)
    points = [(60 + step * n, y(value)) for n, value in enumerate(curve)]
    line = " ".join(f"{x:.1f},{height:.1f}" for x, height in points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{height:.1f}" r="3"><title>epoch {n}: {value:.2f} %</title></circle>'
        for n, ((x, height), value) in enumerate(zip(points, curve, strict=True), 1)
    )
    required = y(required_percent)
    labels = {y(curve[-1]): f"{curve[-1]:.1f} %", required: f"{required_percent:.1f} %"}
    if abs(y(curve[-1]) - required) < 14:  # they would lie on each other
        del labels[required]
    text = "".join(f'<text x="4" y="{height + 4:.1f}">{label}</text>' for height, label in labels.items())
    return (
        f'<svg viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}" role="img" aria-label="validation accuracy by epoch">'
        f'<line class="required" x1="60" x2="{CURVE_WIDTH - 10}" y1="{required:.1f}" y2="{required:.1f}"/>'
        f'<polyline points="{line}"/>{dots}{text}</svg>'
        f'<p class="soft">Validation accuracy after each of {pluralize(len(curve), "epoch")}: '
        f"{escape(', '.join(f'{value:.2f}' for value in curve))} %. Dashed: what the search requires.</p>"
    )


def _phases(trial: TrialResult) -> str:
    if not trial.seconds:
        return ""
    rows = [(name, NONE, significant(seconds), "") for name, seconds in trial.seconds.items()]
    if trial.phases:
        rows = [
            (p.name, f"{datetime.fromtimestamp(p.start_s):%Y-%m-%d %H:%M:%S}", significant(p.seconds), p.board)
            for p in trial.phases
        ]
    worker = f'<p class="soft">Worker: {escape(trial.worker)}</p>' if trial.worker else ""
    return worker + table_html(("phase", "began", "seconds", "board"), rows, (2,))


def _measurement(measurement: Measurement) -> str:
    """Median, spread and circumstances, and all windows, of rejected attempts as well."""
    m, environment = measurement, measurement.environment
    facts = [
        ("latency, median of the windows [ms]", significant(m.latency_ms)),
        ("spread of the windows [%]", significant(100 * m.spread)),
        ("90th percentile [ms]", significant(m.p90_ms)),
        ("energy per image [mJ]", marked(significant(m.energy_mj), m.estimated)),
        ("net of the idle power [mJ]", marked(significant(m.net_energy_mj), m.estimated)),
        ("largest power [W]", marked(significant(m.max_power_w), m.estimated)),
        ("peak memory [MB]", significant(m.peak_memory_mb)),
        ("plan, threads", f"{m.plan.name}, {m.plan.threads}"),
        ("device, meter", f"{m.device}, {m.meter}"),
        *((name, NONE if value is None else str(value)) for name, value in vars(environment).items()),
        *(("rejected attempt", attempt.fault) for attempt in m.rejected),
    ]
    attempts = [*((f"{n}, rejected", a.windows) for n, a in enumerate(m.rejected, 1)), ("believed", m.windows)]
    rows = [_window(name, window) for name, windows in attempts for window in windows]
    raw = table_html(WINDOW_COLUMNS, rows, range(1, len(WINDOW_COLUMNS)))
    summary = f"<summary>{pluralize(len(rows), 'window')}, raw</summary>"
    return f"{table_html((), facts, kind='facts')}<details>{summary}{raw}</details>"


def _window(attempt: str, window: Window) -> tuple[str, ...]:
    numbers = (window.length_s, window.mean_ms, window.p50_ms, window.p90_ms, window.power_w, window.energy_mj)
    return attempt, f"{window.images:,}", *(significant(number, 4) for number in numbers)


def _operators(trial: TrialResult) -> list[tuple[str, str]]:
    return [(name, str(number)) for name, number in sorted(trial.operators.items())]


def _artifacts(trial: TrialResult, folder: Path) -> str:
    """Each artifact by name; a link where it lies in the study's own folder."""
    items = []
    for name, key in sorted(trial.artifacts.items()):
        text = escape(f"{name}: artifact {key}")
        if (folder / "artifacts" / key).is_file():
            text = f'<a href="../artifacts/{escape(key)}" download="{escape(name)}">{text}</a>'
        items.append(f"<li>{text}</li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""
