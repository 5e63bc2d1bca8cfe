"""Accuracy against latency: trials, Pareto front, base and best, and published entries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import plotly.graph_objects as go

from search.report.charts.markers import (
    MAX_DETAILED_TRIALS,
    MarkerStyle,
    Point,
    add_by_feasibility,
)
from search.report.charts.published import DATA, PUBLISHED, Published
from search.report.charts.style import GREEN, GREY, PURPLE, RED, value_axis
from search.report.formatting import significant
from search.report.results import Figures, StudyResults
from search.report.sentences import describe_figures

BASE = MarkerStyle("unpruned base", GREY, "diamond")
BEST = MarkerStyle("best candidate", RED, "star")
HEIGHT_PX = 480


class AccuracyData(NamedTuple):
    """The measured trials by latency in ms and accuracy in percent, and others to compare.

    `front` has the corners of the Pareto front, the fastest first. `models`: base and best, where
    they are known. `published`: by device. `accuracy_of`: the images on which the accuracies of the
    trials were taken.
    """

    trials: list[Point]
    front: list[tuple[float, float]]
    models: list[tuple[MarkerStyle, Figures]]
    published: dict[str, list[Published]]
    accuracy_of: list[str]


def accuracy_of(results: StudyResults) -> AccuracyData:
    """Return the data of the chart."""
    trials = []
    images = set()
    for trial in results.complete:
        if trial.figures is not None:
            trials.append(Point(trial, trial.figures.latency_ms, trial.figures.accuracy_percent))
            images.add(trial.figures.accuracy_of)
    models = []
    for style, figures in ((BASE, results.base), (BEST, results.best)):
        if figures is not None:
            models.append((style, figures))
    published: dict[str, list[Published]] = defaultdict(list)
    if results.data == DATA:
        for entry in PUBLISHED:
            published[entry.device].append(entry)
    front = [(figures.latency_ms, figures.accuracy_percent) for _, figures in results.front]
    return AccuracyData(trials, front, models, published, sorted(images))


def accuracy_chart(results: StudyResults) -> go.Figure | str:
    """Draw trials, front, accuracy constraint, base, best and published entries."""
    data = accuracy_of(results)
    if not data.trials and not data.models:
        return "Nothing has been measured yet."
    figure = go.Figure()
    _add_published(figure, data.published)
    add_by_feasibility(figure, data.trials, is_crowded=len(data.trials) > MAX_DETAILED_TRIALS)
    if data.front:
        slowest = max(point.x for point in data.trials)
        _add_front(figure, [*data.front, (slowest, data.front[-1][1])])
    for style, figures in data.models:
        _add_model(figure, style, figures)
    _add_limit(figure, results.constraint_percent, "accuracy constraint", "solid", "bottom right")
    _add_limit(figure, results.required_percent, "required in the search", "dot", "top right")
    return figure.update_layout(
        xaxis={"title": "latency [ms]", **value_axis(_latencies(data))},
        yaxis_title=_accuracy_title(data),
        height=HEIGHT_PX,
    )


def _latencies(data: AccuracyData) -> list[float]:
    latencies = [point.x for point in data.trials]
    for _, figures in data.models:
        latencies.append(figures.latency_ms)
    for entries in data.published.values():
        for entry in entries:
            latencies.append(entry.latency_ms)
    return latencies


def _accuracy_title(data: AccuracyData) -> str:
    if not data.accuracy_of:
        return "accuracy [%]"
    return f"accuracy [%] of the trials: {escape(', '.join(data.accuracy_of))}"


def _add_published(figure: go.Figure, published: Mapping[str, Sequence[Published]]) -> None:
    for device, entries in published.items():
        latencies, accuracies, texts = [], [], []
        for entry in entries:
            latencies.append(entry.latency_ms)
            accuracies.append(entry.accuracy_percent)
            measured = f"{entry.accuracy_percent} %, {entry.latency_ms} ms"
            texts.append(f"published: {entry.name}<br>{measured}")
        figure.add_scatter(
            x=latencies,
            y=accuracies,
            name=f"published, on {device} (other device)",
            mode="markers",
            marker={"color": GREY, "symbol": "square", "size": 8, "opacity": 0.5},
            hovertext=texts,
            hoverinfo="text",
        )


def _add_front(figure: go.Figure, corners: Sequence[tuple[float, float]]) -> None:
    latencies, accuracies = zip(*corners, strict=True)
    figure.add_scatter(
        x=latencies,
        y=accuracies,
        name="front",
        mode="lines",
        line={"color": PURPLE, "width": 2, "shape": "hv"},
        hoverinfo="skip",
    )


def _add_model(figure: go.Figure, style: MarkerStyle, figures: Figures) -> None:
    figure.add_scatter(
        x=[figures.latency_ms],
        y=[figures.accuracy_percent],
        name=escape(f"{style.name} ({figures.accuracy_of})"),
        mode="markers",
        marker={
            "color": style.colour,
            "symbol": style.symbol,
            "size": 15,
            "line": {"width": 1.5, "color": "white"},
        },
        hovertext=escape(f"{style.name}: {describe_figures(figures)}"),
        hoverinfo="text",
    )


def _add_limit(figure: go.Figure, percent: float, name: str, dash: str, position: str) -> None:
    """Draw a horizontal line.

    Args:
        figure: The chart.
        percent: Its accuracy.
        name: The text beside it.
        dash: Plotly's name of the dashes.
        position: Plotly's name of where the text is.
    """
    figure.add_hline(
        percent,
        line={"color": GREEN, "dash": dash},
        annotation={"text": f"{name}: {significant(percent)} %"},
        annotation_position=position,
    )
