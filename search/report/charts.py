"""The charts of a study: each takes its results and gives a plotly figure, or the sentence to show in its place."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from search.report import tables
from search.report.formatting import significant
from search.report.results import IMPORTANCE_TRIALS, StudyResults, TrialResult

CROWD = 1000
"""Of more trials than that each point is smaller and tells less: the page must stay light, and readable."""
CURVES = 200
"""So many learning curves are drawn: more cannot be told apart."""
Point = tuple[TrialResult, float, float | None]  # with its x and y
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#808080"  # after Okabe and Ito
PURPLE = "#cc79a7"
GROUPS = {True: ("accurate enough", BLUE, "circle"), False: ("infeasible", ORANGE, "x-open")}
TICKS = {"PRUNED": ("pruned", GREY, "line-ns"), "FAIL": ("failed", RED, "x-thin")}
ACTIVITIES = {
    "train": "training",
    "structure": "conversion",
    "convert": "conversion",
    "measure structure": "device",
    "measure": "device",
    "waiting": "waiting for a device",
}
"""What is going on in each phase of a trial."""


class Published(NamedTuple):
    """An entry of the same competition, as its authors published it."""

    board: str
    name: str
    latency_ms: float
    accuracy_percent: float


PUBLISHED = (
    Published("a Raspberry Pi 3B+", "2021: MobileNet-v1, fraction 0.84, int8, ONNX Runtime", 3.577, 75.64),
    Published("a Raspberry Pi 3B+", "2023: three blocks by hand, int8, ONNX Runtime", 1.516, 70.21),
    Published("a Raspberry Pi 3B+", "2023: unpruned MobileNet-v1, float", 19.99, 79.41),
    Published("an Odroid MC1", "2022: MobileNet-v1, fraction 0.955, int8 (a re-run gave 68.6 %)", 0.899, 70.2),
)


def history_chart(results: StudyResults) -> go.Figure | str:
    """Objective value of each complete trial and the best so far; pruned and failed ones tick the bottom."""
    complete = [(t, t.number, t.value) for t in results.trials if t.state == "COMPLETE" and t.value is not None]
    if not complete:
        return "No trial is complete yet."
    figure, better = go.Figure(), max if results.road == "fom" else min
    kept = [(number, value) for trial, number, value in complete if trial.feasible]
    if kept:
        numbers = [*(number for number, _ in kept), results.trials[-1].number]
        values = [*accumulate((value for _, value in kept), better)]
        line = {"color": BLUE, "width": 2, "shape": "hv"}
        best = {"x": numbers, "y": [*values, values[-1]], "name": "best so far", "mode": "lines", "line": line}
        figure.add_scatter(**best, hoverinfo="skip")
    crowd = len(results.trials) > CROWD
    for feasible, style in GROUPS.items():
        _dots(figure, [point for point in complete if point[0].feasible == feasible], style, crowd)
    for state, style in TICKS.items():
        _dots(figure, [(t, t.number, 0.02) for t in results.trials if t.state == state], style, crowd, yaxis="y2")
    axis = {"title": tables.objective_title(results), **_scale([value for _, _, value in complete])}
    hidden = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    return figure.update_layout(xaxis_title="trial", yaxis=axis, yaxis2=hidden)


def accuracy_chart(results: StudyResults) -> go.Figure | str:
    """Each measured trial by latency and accuracy, the front, the rule, base and best, and what others published."""
    measured = [(t, t.figures) for t in results.trials if t.state == "COMPLETE" and t.figures]
    models = [(results.base, "unpruned base", GREY, "diamond"), (results.best, "best candidate", RED, "star")]
    shown = [figures for _, figures in measured]
    latencies = [model.latency_ms for model in (*shown, results.base, results.best) if model]
    if not latencies:
        return "Nothing has been measured yet."
    figure, published = go.Figure(), PUBLISHED if results.data == "cifar10" else ()
    _add_published(figure, published)
    for feasible, style in GROUPS.items():
        points = [(t, f.latency_ms, f.accuracy_percent) for t, f in measured if t.feasible == feasible]
        _dots(figure, points, style, crowd=len(measured) > CROWD)
    front = [(t.figures.latency_ms, t.figures.accuracy_percent) for t in results.front if t.figures]
    if front:
        steps = [*front, (max(model.latency_ms for model in shown), front[-1][1])]
        line = {"color": PURPLE, "width": 2, "shape": "hv"}
        x, y = zip(*steps, strict=True)
        figure.add_scatter(x=x, y=y, name="front", mode="lines", line=line, hoverinfo="skip")
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
    scale = _scale([*latencies, *(entry.latency_ms for entry in published)])
    return figure.update_layout(xaxis={"title": "latency [ms]", **scale}, yaxis_title=title, height=480)


def importances_chart(results: StudyResults) -> go.Figure | str:
    """Each parameter's share in what decides the objective, 0..1, the largest on top."""
    if not results.importances:
        done = sum(trial.state == "COMPLETE" for trial in results.trials)
        return f"This needs at least {IMPORTANCE_TRIALS} complete trials that differ; the study has {done}."
    return _bars(results.importances, "share of 1", lambda share: f"{share:.2f}")


def curves_chart(results: StudyResults) -> go.Figure | str:
    """Validation accuracy after each epoch: a thin line for each of the last trials, a thick one for the best."""
    trained = [trial for trial in results.trials if trial.curve]
    if not trained:
        return "No trial has been trained yet."
    last = {trial.number for trial in trained[-CURVES:]}
    groups: dict[str, list[TrialResult]] = {"pruned or failed": [], "complete": [], "best": []}
    for trial in trained:
        if trial.number == results.best_trial:
            groups["best"].append(trial)
        elif trial.number in last:
            groups["complete" if trial.state == "COMPLETE" else "pruned or failed"].append(trial)
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
    few = f" (the best, and the last {CURVES} of {len(trained):,} trials)" * (len(trained) > CURVES)
    return figure.update_layout(xaxis_title=f"epoch{few}", yaxis_title="validation accuracy [%]")


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
    """The time of all trials together in minutes: training, conversion, device, waiting."""
    minutes: dict[str, float] = defaultdict(float)
    for trial in results.trials:
        for phase, seconds in trial.seconds.items():
            # Before phases were stored, "structure" was both conversion and device, "train and convert" one phase.
            minutes[ACTIVITIES.get(phase, phase) if trial.phases else phase] += seconds / 60
    total = sum(minutes.values())
    if not total:
        return "No time has been recorded yet."
    return _bars(minutes, "minutes", lambda share: f"{significant(share)} ({100 * share / total:.0f} %)")


def as_html(name: str, figure: go.Figure | str) -> str:
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


def _add_published(figure: go.Figure, published: Sequence[Published]) -> None:
    for board in dict.fromkeys(entry.board for entry in published):
        found = [entry for entry in published if entry.board == board]
        figure.add_scatter(
            x=[entry.latency_ms for entry in found],
            y=[entry.accuracy_percent for entry in found],
            name=f"published, on {board} (other device)",
            mode="markers",
            marker={"color": GREY, "symbol": "square", "size": 8, "opacity": 0.5},
            hovertext=[f"published: {e.name}<br>{e.accuracy_percent} %, {e.latency_ms} ms" for e in found],
            hoverinfo="text",
        )


def _dots(
    figure: go.Figure, points: Sequence[Point], style: tuple[str, str, str], crowd: bool, yaxis: str = "y"
) -> None:
    """One marker a trial at x, y, told by colour and by shape, with the trial's description on hover."""
    hover = []
    for trial, _, _ in points:
        title = f"trial {trial.number}: {tables.STATES.get(trial.state, trial.state)}"
        measured = tables.describe_figures(trial.figures) if trial.figures else ""
        lines = (title, measured) if crowd else (title, measured, tables.describe_model(trial), trial.reason[:120])
        hover.append("<br>".join(escape(line) for line in lines if line))
    name, colour, symbol = style
    marker = {"color": colour, "symbol": symbol, "size": 9, "line": {"width": 1.5, "color": colour}}
    if crowd:
        marker |= {"size": 5, "opacity": 0.4, "line": {"width": 1, "color": colour}}
    x, y = np.array([x for _, x, _ in points], float), np.array([y for _, _, y in points], float)
    figure.add_scatter(x=x, y=y, yaxis=yaxis, name=name, mode="markers", marker=marker)
    figure.update_traces(hovertext=hover, hoverinfo="text", selector=len(figure.data) - 1)


def _bars(values: Mapping[str, float], title: str, show: Callable[[float], str]) -> go.Figure:
    """Horizontal bars with their value written beside them, the largest on top."""
    ranked = sorted(values.items(), key=lambda item: item[1])
    shares, names = [value for _, value in ranked], [escape(name) for name, _ in ranked]
    texts = [*map(show, shares)]
    figure = go.Figure().add_bar(x=shares, y=names, orientation="h", marker_color=BLUE, text=texts)
    figure.update_traces(textposition="outside", cliponaxis=False).update_yaxes(ticklabelstandoff=5)
    margin = 20 + 8 * max(map(len, texts))
    return figure.update_layout(xaxis_title=title, margin_r=margin, height=max(160, 90 + 26 * len(ranked)))


def _scale(values: Sequence[float]) -> dict[str, Any]:
    """A log axis with plain numbers at 1, 2, 5, 10 ...; linear where the values lie close together."""
    low, high = min(values), max(values)
    if low <= 0 or high / low < 3:
        return {"type": "linear"}
    steps = (1, 2, 5) if high / low < 100 else (1, 3) if high / low < 1e4 else (1,)
    ticks = [step * 10.0**power for power in range(-6, 12) for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [significant(tick, 1) for tick in ticks]}
