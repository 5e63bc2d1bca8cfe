"""Trials as markers in a chart."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from optuna.trial import TrialState

from search.report.charts.style import BLUE, GREY, ORANGE, RED
from search.report.results import TrialResult
from search.report.sentences import STATES, describe_figures, describe_model

MAX_DETAILED_TRIALS = 1000
"""With more trials the markers are smaller and have fewer details, to keep the page light."""
MAX_REASON_CHARACTERS = 120


class MarkerStyle(NamedTuple):
    """The name in the legend, the colour, and plotly's symbol."""

    name: str
    colour: str
    symbol: str


FEASIBLE = MarkerStyle("feasible", BLUE, "circle")
INFEASIBLE = MarkerStyle("infeasible", ORANGE, "x-open")
UNFINISHED = {
    TrialState.PRUNED: MarkerStyle("pruned", GREY, "line-ns"),
    TrialState.FAIL: MarkerStyle("failed", RED, "x-thin"),
}


class Point(NamedTuple):
    """A trial at its place in a chart."""

    trial: TrialResult
    x: float
    y: float


def add_by_feasibility(figure: go.Figure, points: Sequence[Point], is_crowded: bool) -> None:
    """Add the points; feasible and infeasible ones look different."""
    feasible = []
    infeasible = []
    for point in points:
        if point.trial.feasible:
            feasible.append(point)
        else:
            infeasible.append(point)
    add_markers(figure, feasible, FEASIBLE, is_crowded)
    add_markers(figure, infeasible, INFEASIBLE, is_crowded)


def add_markers(
    figure: go.Figure,
    points: Sequence[Point],
    style: MarkerStyle,
    is_crowded: bool,
    yaxis: str = "y",
) -> None:
    """Add one marker a trial, which describes the trial when the mouse is over it.

    Args:
        figure: The chart.
        points: The trials.
        style: The look of the markers.
        is_crowded: The chart has more than MAX_DETAILED_TRIALS trials.
        yaxis: Plotly's name of the axis of y.
    """
    size, opacity, line_width = 9.0, 1.0, 1.5
    if is_crowded:
        size, opacity, line_width = 5.0, 0.4, 1.0
    figure.add_scatter(
        x=np.array([point.x for point in points], float),
        y=np.array([point.y for point in points], float),
        yaxis=yaxis,
        name=style.name,
        mode="markers",
        marker={
            "color": style.colour,
            "symbol": style.symbol,
            "size": size,
            "opacity": opacity,
            "line": {"width": line_width, "color": style.colour},
        },
        hovertext=[_description(point.trial, is_crowded) for point in points],
        hoverinfo="text",
    )


def _description(trial: TrialResult, is_crowded: bool) -> str:
    lines = [f"trial {trial.number}: {STATES[trial.state]}"]
    if trial.figures is not None:
        lines.append(describe_figures(trial.figures))
    if not is_crowded:
        lines += [describe_model(trial), trial.reason[:MAX_REASON_CHARACTERS]]
    return "<br>".join(escape(line) for line in lines if line)
