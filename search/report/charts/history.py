"""The objective of each trial, and the best value so far."""

from typing import NamedTuple

import plotly.graph_objects as go
from optuna.trial import TrialState

from search.report.charts.markers import (
    MAX_DETAILED_TRIALS,
    UNFINISHED,
    Point,
    add_by_feasibility,
    add_markers,
)
from search.report.charts.style import BLUE, value_axis
from search.report.results import StudyResults
from search.report.sentences import objective_title


class History(NamedTuple):
    """Complete trials by number and value, unfinished ones by number, and the best so far.

    `best_so_far` has a step for each feasible trial, and one at the last trial.
    """

    complete: list[Point]
    unfinished: dict[TrialState, list[Point]]
    best_so_far: list[tuple[int, float]]


def history_of(results: StudyResults) -> History:
    """Return the data of the chart."""
    complete = []
    unfinished: dict[TrialState, list[Point]] = {state: [] for state in UNFINISHED}
    for trial in results.trials:
        if trial.is_complete and trial.value is not None:
            complete.append(Point(trial, trial.number, trial.value))
        elif trial.state in unfinished:
            unfinished[trial.state].append(Point(trial, trial.number, 0.02))
    return History(complete, unfinished, _best_so_far(results, complete))


def history_chart(results: StudyResults) -> go.Figure | str:
    """Draw complete trials by value, and the best so far; ticks are pruned and failed ones."""
    history = history_of(results)
    if not history.complete:
        return "No trial is complete yet."
    figure = go.Figure()
    if history.best_so_far:
        numbers, values = zip(*history.best_so_far, strict=True)
        figure.add_scatter(
            x=numbers,
            y=values,
            name="best so far",
            mode="lines",
            line={"color": BLUE, "width": 2, "shape": "hv"},
            hoverinfo="skip",
        )
    is_crowded = len(results.trials) > MAX_DETAILED_TRIALS
    add_by_feasibility(figure, history.complete, is_crowded)
    for state, style in UNFINISHED.items():
        add_markers(figure, history.unfinished[state], style, is_crowded, yaxis="y2")
    axis = value_axis([point.y for point in history.complete])
    return figure.update_layout(
        xaxis_title="trial",
        yaxis={"title": objective_title(results), **axis},
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
    )


def _best_so_far(results: StudyResults, complete: list[Point]) -> list[tuple[int, float]]:
    steps: list[tuple[int, float]] = []
    for point in complete:
        if not point.trial.feasible:
            continue
        value = point.y
        if steps:
            value = results.objective.best((steps[-1][1], value))
        steps.append((point.trial.number, value))
    if steps:
        steps.append((results.trials[-1].number, steps[-1][1]))
    return steps
