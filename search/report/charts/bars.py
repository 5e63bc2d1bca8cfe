"""Horizontal bars: what decides the objective, and where the time went."""

from collections import defaultdict
from collections.abc import Mapping
from html import escape
from typing import NamedTuple

import plotly.graph_objects as go

from search.evaluation import Phase
from search.report.charts.style import BLUE
from search.report.formatting import significant
from search.report.results import MIN_IMPORTANCE_TRIALS, StudyResults

ACTIVITIES = {
    Phase.TRAIN: "training",
    Phase.ARCHITECTURE: "conversion",
    Phase.CONVERT: "conversion",
    Phase.MEASURE_ARCHITECTURE: "device",
    Phase.MEASURE: "device",
    Phase.WAITING: "waiting for a device",
}
"""The activity in each phase of a trial."""


class Bar(NamedTuple):
    """A bar and the text at its end."""

    name: str
    length: float
    text: str


def importance_bars(results: StudyResults) -> list[Bar]:
    """Return each parameter's share in what decides the objective, 0..1, the smallest first."""
    bars = []
    for name, share in _by_value(results.importances):
        bars.append(Bar(name, share, f"{share:.2f}"))
    return bars


def importances_chart(results: StudyResults) -> go.Figure | str:
    """Draw the importance of each parameter, the largest on top."""
    bars = importance_bars(results)
    if not bars:
        return (
            f"This needs at least {MIN_IMPORTANCE_TRIALS} complete trials that differ; "
            f"the study has {len(results.complete)}."
        )
    return _bar_chart(bars, "share of 1")


def time_bars(results: StudyResults) -> list[Bar]:
    """Return the minutes that all trials together spent on each activity, the smallest first."""
    minutes: dict[str, float] = defaultdict(float)
    for trial in results.trials:
        for phase, seconds in trial.seconds.items():
            minutes[ACTIVITIES[phase]] += seconds / 60
    total = sum(minutes.values())
    if not total:
        return []
    bars = []
    for name, value in _by_value(minutes):
        bars.append(Bar(name, value, f"{significant(value)} ({100 * value / total:.0f} %)"))
    return bars


def seconds_chart(results: StudyResults) -> go.Figure | str:
    """Draw the minutes that all trials together spent on each activity, the largest on top."""
    bars = time_bars(results)
    if not bars:
        return "No time has been recorded yet."
    return _bar_chart(bars, "minutes")


def _by_value(values: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda item: item[1])


def _bar_chart(bars: list[Bar], title: str) -> go.Figure:
    """Draw bars; the last one is on top."""
    names, lengths, texts = zip(*bars, strict=True)
    figure = go.Figure()
    figure.add_bar(
        x=lengths,
        y=list(map(escape, names)),
        text=texts,
        orientation="h",
        marker_color=BLUE,
        textposition="outside",
        cliponaxis=False,
    )
    figure.update_yaxes(ticklabelstandoff=5)
    longest_text = max(map(len, texts))
    return figure.update_layout(
        xaxis_title=title,
        margin_r=20 + 8 * longest_text,
        height=max(160, 90 + 26 * len(bars)),
    )
