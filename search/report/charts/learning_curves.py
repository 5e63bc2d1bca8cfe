"""The validation accuracy of each trained trial after each epoch."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from search.report.charts.style import BLUE, GREEN, ORANGE, RED
from search.report.formatting import significant
from search.report.results import StudyResults, TrialResult

MAX_CURVES = 200
"""More learning curves than this cannot be told apart."""


class LearningCurves(NamedTuple):
    """The trials whose curves are drawn: the last MAX_CURVES, and the best.

    `trained`: the number of all trials with a curve.
    """

    unfinished: list[TrialResult]
    complete: list[TrialResult]
    best: list[TrialResult]
    trained: int


def learning_curves_of(results: StudyResults) -> LearningCurves:
    """Return the data of the chart."""
    trained = [trial for trial in results.trials if trial.curve]
    curves = LearningCurves([], [], [], len(trained))
    for place, trial in enumerate(trained, 1):
        if trial.number == results.best_trial:
            curves.best.append(trial)
        elif place <= len(trained) - MAX_CURVES:
            continue
        elif trial.is_complete:
            curves.complete.append(trial)
        else:
            curves.unfinished.append(trial)
    return curves


def curves_chart(results: StudyResults) -> go.Figure | str:
    """Draw a thin line for each of the last trials, and a thick one for the best."""
    curves = learning_curves_of(results)
    if not curves.trained:
        return "No trial has been trained yet."
    figure = go.Figure()
    _add_curves(figure, curves.unfinished, "pruned or failed", ORANGE, width=1)
    _add_curves(figure, curves.complete, "complete", BLUE, width=1)
    _add_curves(figure, curves.best, "best", RED, width=3)
    figure.add_hline(
        results.required_percent,
        line={"color": GREEN, "dash": "dot"},
        name=f"required: {significant(results.required_percent)} %",
        showlegend=True,
    )
    title = "epoch"
    if curves.trained > MAX_CURVES:
        title += f" (the best, and the last {MAX_CURVES} of {curves.trained:,} trials)"
    return figure.update_layout(xaxis_title=title, yaxis_title="validation accuracy [%]")


def _add_curves(
    figure: go.Figure, trials: Sequence[TrialResult], name: str, colour: str, width: int
) -> None:
    """Add the curves of a group as one trace with gaps: hundreds of traces are slow.

    Args:
        figure: The chart.
        trials: The trials of the group.
        name: Its name in the legend.
        colour: Its colour.
        width: The width of a line in pixels.
    """
    epochs: list[int | None] = []
    accuracies: list[float | None] = []
    texts = []
    for trial in trials:
        epochs += [*range(1, len(trial.curve) + 1), None]
        accuracies += [*trial.curve, None]
        texts += [f"trial {trial.number}"] * (len(trial.curve) + 1)
    figure.add_scatter(
        x=epochs,
        y=accuracies,
        hovertext=texts,
        hoverinfo="text+x+y",
        name=name,
        mode="lines+markers",
        line={"color": colour, "width": width},
        marker={"size": 3 + width},
    )
