"""A study as one self-contained HTML page, and its trials as CSV; both appear whole or not at all."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import pandas
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from edge.measurement import DEFINITIONS
from search import comparison, tables
from search.formats import NONE, significant
from search.results import StudyResults, TrialResult

IMPORTANCE_TRIALS = 10
"""With fewer complete trials no importances are worth showing."""
Point = tuple[TrialResult, float | None, float | None]  # with its x and y
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#808080"  # after Okabe and Ito
GROUPS = {True: ("accurate enough", BLUE, "circle"), False: ("infeasible", ORANGE, "x-open")}
TICKS = {"PRUNED": ("pruned", GREY, "line-ns"), "FAIL": ("failed", RED, "x-thin")}


def write_report(results: StudyResults, folder: Path) -> Path:
    """Write `report.html` into `folder`, which is made where it is missing, and return its path."""
    charts = (history_chart, accuracy_chart, importances_chart, curves_chart, layers_chart, seconds_chart)
    compared, columns = comparison.comparison_rows(results), comparison.comparison_columns(results)
    layers = [tables.layer_cells(layer) for layer in tables.layers(results)]
    trials = [(*tables.trial_cells(results, trial), tables.describe_model(trial)) for trial in results.trials]
    definitions = [(metric.label, DEFINITIONS.get(metric.name, "")) for metric in comparison.METRICS]
    page = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8")).substitute(
        {chart.__name__: _plot(chart.__name__, chart(results)) for chart in charts},
        title=escape(results.name),
        verdict=escape(comparison.verdict(results)),
        counts=escape(tables.counts(results)),
        plotly=get_plotlyjs(),
        facts=_table_html((), _facts(results), kind="facts"),
        comparison=_table_html(columns, compared, (1, 2))
        + "".join(f'<p class="soft">{line}</p>' for line in comparison.footnote(compared)),
        savings=_savings(results),
        layers=_table_html(tables.LAYER_COLUMNS, layers, (1, 2, 3)) if layers else "",
        trials=_table_html((*tables.trial_columns(results), "model"), trials, (0, 2, 3, 4), "sortable"),
        environment=_table_html((), _environment(results), kind="facts"),
        definitions=_table_html((), [row for row in definitions if row[1]], kind="facts"),
    )
    return _write(folder / "report.html", page)


def write_csv(results: StudyResults, folder: Path) -> Path:
    """Write `trials.csv` into `folder`, one row a trial: spec, figures, seconds; return its path."""
    rows = [_csv_row(trial) for trial in results.trials]
    columns = list(dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row))
    # convert_dtypes: else whole numbers become floats beside the gap of a trial without them.
    frame = pandas.DataFrame(rows, columns=columns or ["number"]).convert_dtypes()
    return _write(folder / "trials.csv", frame.to_csv(index=False, lineterminator="\n"))


def history_chart(results: StudyResults) -> go.Figure | str:
    """Objective value of each complete trial and the best so far; pruned and failed ones tick the bottom."""
    complete = [trial for trial in results.trials if trial.state == "COMPLETE" and trial.value is not None]
    if not complete:
        return "No trial is complete yet."
    figure, better = go.Figure(), max if results.road == "fom" else min
    numbers: list[int] = []
    values: list[float] = []
    for trial in complete:
        if trial.feasible and trial.value is not None:
            numbers, values = [*numbers, trial.number], [*values, better([trial.value, *values[-1:]])]
    if values:
        numbers, values = [*numbers, results.trials[-1].number], [*values, values[-1]]
    line = {"color": BLUE, "width": 2, "shape": "hv"}
    figure.add_scatter(x=numbers, y=values, name="best so far", mode="lines", line=line, hoverinfo="skip")
    for feasible, style in GROUPS.items():
        points = [(t, t.number, t.value) for t in complete if t.feasible == feasible]
        _dots(figure, points, style)
    for state, style in TICKS.items():
        _dots(figure, [(t, t.number, 0.02) for t in results.trials if t.state == state], style, yaxis="y2")
    axis = {"title": tables.objective_title(results), **_scale([trial.value or 0 for trial in complete])}
    hidden = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    return figure.update_layout(xaxis_title="trial", yaxis=axis, yaxis2=hidden)


def accuracy_chart(results: StudyResults) -> go.Figure | str:
    """Each measured trial by latency and accuracy, with the rule, what the search requires, base and best."""
    measured = [(t, t.figures) for t in results.trials if t.state == "COMPLETE" and t.figures]
    models = [(results.base, "unpruned base", GREY, "diamond"), (results.best, "best candidate", RED, "star")]
    shown = [figures for _, figures in measured]
    latencies = [model.latency_ms for model in (*shown, results.base, results.best) if model]
    if not latencies:
        return "Nothing has been measured yet."
    figure = go.Figure()
    for feasible, style in GROUPS.items():
        points = [(t, f.latency_ms, f.accuracy_percent) for t, f in measured if t.feasible == feasible]
        _dots(figure, points, style)
    for model, name, colour, symbol in models:
        if model:
            words = f"{name}: {tables.describe_figures(model)}"
            marker = {"color": colour, "symbol": symbol, "size": 15, "line": {"width": 1.5, "color": "white"}}
            point = {"x": [model.latency_ms], "y": [model.accuracy_percent], "mode": "markers"}
            name = escape(f"{name} ({model.accuracy_of})")
            figure.add_scatter(**point, name=name, marker=marker, hovertext=escape(words), hoverinfo="text")
    for percent, name, dash, side in (
        (results.rule_percent, "rule", "solid", "bottom right"),
        (results.required_percent, "required in the search", "dot", "top right"),
    ):
        note = {"text": f"{name}: {significant(percent)} %"}
        line = {"color": GREEN, "dash": dash}
        figure.add_hline(percent, line=line, annotation=note, annotation_position=side)
    kinds = ", ".join(sorted({model.accuracy_of for model in shown}))
    title = f"accuracy [%]{' of the trials: ' * bool(kinds)}{escape(kinds)}"
    return figure.update_layout(xaxis={"title": "latency [ms]", **_scale(latencies)}, yaxis_title=title)


def importances_chart(results: StudyResults) -> go.Figure | str:
    """Each parameter's share in what decides the objective, 0..1, the largest on top."""
    if not results.importances:
        done = sum(trial.state == "COMPLETE" for trial in results.trials)
        return f"This needs at least {IMPORTANCE_TRIALS} complete trials that differ; the study has {done}."
    return _bars(results.importances, "share of 1", lambda share: f"{share:.2f}")


def curves_chart(results: StudyResults) -> go.Figure | str:
    """Validation accuracy after each epoch: a thin line a trial, a thick one for the best."""
    groups: dict[str, list[TrialResult]] = {"pruned or failed": [], "complete": [], "best": []}
    for trial in results.trials:
        group = "complete" if trial.state == "COMPLETE" else "pruned or failed"
        groups["best" if trial.number == results.best_trial else group].append(trial)
    if not any(trial.curve for trial in results.trials):
        return "No trial has been trained yet."
    figure = go.Figure()
    for (name, trials), colour, width in zip(groups.items(), (ORANGE, BLUE, RED), (1, 1, 3), strict=True):
        # One trace a group, None between the curves: hundreds of traces would make the page slow.
        points = [(*point, t.number) for t in trials for point in (*enumerate(t.curve, 1), (None, None))]
        figure.add_scatter(
            x=[epoch for epoch, _, _ in points],
            y=[accuracy for _, accuracy, _ in points],
            hovertext=[f"trial {number}" for _, _, number in points],
            hoverinfo="text+x+y",
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": width},
            marker={"size": 3 + width},
        )
    required = f"required: {significant(results.required_percent)} %"
    line = {"color": GREEN, "dash": "dot"}
    figure.add_hline(results.required_percent, line=line, name=required, showlegend=True)
    return figure.update_layout(xaxis_title="epoch", yaxis_title="validation accuracy [%]")


def layers_chart(results: StudyResults) -> go.Figure | str:
    """Output channels of each layer of the base and of the best candidate."""
    rows = tables.layers(results)
    if not rows:
        return "There is no best candidate yet."
    names, figure = [row.name for row in rows], go.Figure()
    note = {"text": ["dropped" if row.after is None else "" for row in rows], "textposition": "outside"}
    figure.add_bar(x=names, y=[row.before for row in rows], name="unpruned base", marker_color=GREY)
    figure.add_bar(x=names, y=[row.after or 0 for row in rows], name="best candidate", marker_color=BLUE, **note)
    figure.update_traces(textangle=-90, constraintext="none")
    return figure.update_layout(yaxis_title="output channels")


def seconds_chart(results: StudyResults) -> go.Figure | str:
    """The time of all trials together, phase by phase, in minutes."""
    minutes: dict[str, float] = defaultdict(float)
    for trial in results.trials:
        for phase, seconds in trial.seconds.items():
            minutes[phase] += seconds / 60
    return _bars(minutes, "minutes", significant) if minutes else "No time has been recorded yet."


def _dots(figure: go.Figure, points: Sequence[Point], style: tuple[str, str, str], yaxis: str = "y") -> None:
    """One marker a trial at x, y, told by colour and by shape, with the trial's description on hover."""
    hover = []
    for trial, _, _ in points:
        title = f"trial {trial.number}: {tables.STATES.get(trial.state, trial.state)}"
        measured = tables.describe_figures(trial.figures) if trial.figures else ""
        lines = (title, measured, tables.describe_model(trial), trial.reason[:120])
        hover.append("<br>".join(escape(line) for line in lines if line))
    name, colour, symbol = style
    marker = {"color": colour, "symbol": symbol, "size": 9, "line": {"width": 1.5, "color": colour}}
    x, y = [x for _, x, _ in points], [y for _, _, y in points]
    figure.add_scatter(x=x, y=y, yaxis=yaxis, name=name, mode="markers", marker=marker)
    figure.update_traces(hovertext=hover, hoverinfo="text", selector=len(figure.data) - 1)


def _bars(values: Mapping[str, float], title: str, show: Callable[[float], str]) -> go.Figure:
    """Horizontal bars with their value written beside them, the largest on top."""
    ranked = sorted(values.items(), key=lambda item: item[1])
    shares, names = [value for _, value in ranked], [escape(name) for name, _ in ranked]
    figure = go.Figure().add_bar(x=shares, y=names, orientation="h", marker_color=BLUE, text=[*map(show, shares)])
    figure.update_traces(textposition="outside", cliponaxis=False).update_yaxes(ticklabelstandoff=5)
    return figure.update_layout(xaxis_title=title, margin_r=60, height=max(160, 90 + 26 * len(ranked)))


def _scale(values: Sequence[float]) -> dict[str, Any]:
    """A log axis with plain numbers at 1, 2, 5, 10 ...; linear where the values lie close together."""
    low, high = min(values), max(values)
    if low <= 0 or high / low < 3:
        return {"type": "linear"}
    steps = (1, 2, 5) if high / low < 100 else (1, 3) if high / low < 1e4 else (1,)
    ticks = [step * 10.0**power for power in range(-6, 12) for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [significant(tick, 1) for tick in ticks]}


def _plot(name: str, figure: go.Figure | str) -> str:
    """A chart as HTML without plotly.js, or the sentence that stands in its place."""
    if isinstance(figure, str):
        return f'<p class="soft">{escape(figure)}</p>'
    clear, height = "rgba(0,0,0,0)", figure.layout.height or 400
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    figure.update_layout(template="none", paper_bgcolor=clear, plot_bgcolor=clear, legend=legend, height=None)
    figure.update_layout(font={"color": GREY, "size": 12}, margin={"l": 10, "t": 10, "b": 10})
    figure.update_layout(margin_r=figure.layout.margin.r or 10)
    figure.update_xaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False, automargin=True)
    config = {"responsive": True, "displayModeBar": False}
    html = figure.to_html(config, full_html=False, include_plotlyjs=False, div_id=name)
    return f'<div class="plot" style="height: {height}px">{html}</div>'


def _table_html(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = (), kind: str = ""
) -> str:
    """A table whose cells are text; the columns numbered in `right` stand to the right."""
    sides = dict.fromkeys(right, ' class="number"')
    head = "".join(f"<th{sides.get(n, '')}>{escape(column)}</th>" for n, column in enumerate(columns))
    body = "\n".join(
        "<tr>" + "".join(f"<td{sides.get(n, '')}>{escape(cell)}</td>" for n, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if columns else ""
    return f'<div class="wide"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>'


def _savings(results: StudyResults) -> str:
    rows = tables.saving_rows(results)
    if not rows:
        return '<p class="soft">No trial has been given up early yet.</p>'
    return f'<p class="soft">{tables.SAVING_MEANS}</p>{_table_html(tables.SAVING_COLUMNS, rows, (1, 2, 3, 4))}'


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


def _csv_row(trial: TrialResult) -> dict[str, Any]:
    """A trial flattened; accuracy in percent, ms, mJ, W, MB, seconds."""
    row: dict[str, Any] = {"number": trial.number, "state": trial.state, "feasible": trial.feasible}
    row |= {"value": trial.value, "reason": trial.reason}
    if trial.spec:
        spec = trial.spec.to_dict()
        fractions, dropped = spec.pop("fractions"), spec.pop("dropped_blocks")
        names = ["fraction_stem", *(f"fraction_{block}" for block in range(len(fractions) - 1))]
        row |= dict(zip(names, fractions, strict=True))
        row |= {**spec, "dropped_blocks": " ".join(map(str, dropped))}
    if trial.figures:
        row |= {**asdict(trial.figures), "fom": trial.figures.fom}
    return row | {f"seconds_{phase}": seconds for phase, seconds in trial.seconds.items()}


def _write(path: Path, text: str) -> Path:
    """Put `text` at `path` in one step: a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_text(text, encoding="utf-8")
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
    return path
