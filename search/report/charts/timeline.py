"""The timeline: a row for each worker and each device, coloured by activity."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from math import nan
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from search.evaluation import Phase
from search.report.charts.bars import ACTIVITIES
from search.report.charts.style import BLUE, GREEN, ORANGE, RED
from search.report.formatting import significant
from search.report.results import DevicePhase, StudyResults

MAX_PHASES = 4000
"""Only the last phases are drawn: a page of ten thousand trials must open at once."""
COLOURS = {"training": BLUE, "conversion": ORANGE, "device": GREEN, "waiting for a device": RED}
ROW_PX = 46


class Stretch(NamedTuple):
    """A phase of a trial."""

    trial: int
    worker: str
    phase: DevicePhase


class TimelineRow(NamedTuple):
    """A worker or a device, its phases in the order of time, and the share of time it worked."""

    name: str
    stretches: list[Stretch]
    busy_share: float


class Timeline(NamedTuple):
    """The rows, workers first, and of how many trials they show how many."""

    rows: list[TimelineRow]
    shown_trials: int
    all_trials: int


def timeline_of(results: StudyResults) -> Timeline:
    """Return the last MAX_PHASES phases of all trials, by worker and by device."""
    stretches = []
    for trial in results.trials:
        for phase in trial.phases:
            stretches.append(Stretch(trial.number, trial.worker, phase))
    all_trials = len({each.trial for each in stretches})
    stretches.sort(key=lambda stretch: stretch.phase.start_s)
    shown = stretches[-MAX_PHASES:]
    by_worker: dict[str, list[Stretch]] = {}
    by_device: dict[str, list[Stretch]] = {}
    for each in shown:
        worker = f"worker {each.worker}".rstrip()
        by_worker.setdefault(worker, []).append(each)
        if each.phase.device:
            by_device.setdefault(f"device {each.phase.device}", []).append(each)
    span_s = _span_s(shown)
    rows = []
    for group in (by_worker, by_device):
        for name in sorted(group):
            rows.append(TimelineRow(name, group[name], _busy_s(group[name]) / span_s))
    return Timeline(rows, len({each.trial for each in shown}), all_trials)


def timeline_chart(results: StudyResults) -> go.Figure | str:
    """Draw phases as bars over time, with the busy share of each worker and device."""
    timeline = timeline_of(results)
    if not timeline.rows:
        return "No times have been recorded yet."
    figure = go.Figure()
    for activity, colour in COLOURS.items():
        _add_activity(figure, timeline.rows, activity, colour)
    for place, row in enumerate(timeline.rows):
        figure.add_annotation(
            text=escape(f"{row.name}: busy {100 * row.busy_share:.0f} %"),
            x=0,
            xref="paper",
            xanchor="left",
            y=place,
            yshift=15,
            showarrow=False,
        )
    title = "time of day"
    if timeline.shown_trials < timeline.all_trials:
        title += f" (the last {timeline.shown_trials:,} of {timeline.all_trials:,} trials)"
    rows = len(timeline.rows)
    return figure.update_layout(
        xaxis={"title": title, "type": "date"},
        yaxis={"range": [rows - 0.5, -0.8], "showticklabels": False, "showgrid": False},
        height=110 + ROW_PX * rows,
        hovermode="closest",
    )


def _span_s(stretches: Sequence[Stretch]) -> float:
    """Return the time from the first start to the last end; `stretches` are sorted by start."""
    if not stretches:
        return 0.0
    end_s = max(each.phase.start_s + each.phase.seconds for each in stretches)
    return max(end_s - stretches[0].phase.start_s, 1e-9)


def _busy_s(stretches: Sequence[Stretch]) -> float:
    return sum(each.phase.seconds for each in stretches if each.phase.phase is not Phase.WAITING)


def _add_activity(
    figure: go.Figure, rows: Sequence[TimelineRow], activity: str, colour: str
) -> None:
    """Add the bars of an activity as one trace.

    Each bar is three points, as only points answer the mouse: start, middle, end. NaN follows, the
    gap between bars.

    Args:
        figure: The chart.
        rows: All rows.
        activity: One of ACTIVITIES.
        colour: Its colour.
    """
    times_ms: list[float] = []
    places: list[float] = []
    texts: list[str] = []
    for place, row in enumerate(rows):
        for stretch in row.stretches:
            phase = stretch.phase
            if ACTIVITIES[phase.phase] != activity:
                continue
            start_ms = _local_ms(phase.start_s)
            length_ms = 1e3 * phase.seconds
            times_ms += [start_ms, start_ms + length_ms / 2, start_ms + length_ms, nan]
            places += [place, place, place, nan]
            text = f"trial {stretch.trial}: {phase.phase}, {significant(phase.seconds)} s"
            texts += [text, text, text, ""]
    figure.add_scatter(
        x=np.array(times_ms, float),
        y=np.array(places, float),
        hovertext=texts,
        hoverinfo="text",
        name=activity,
        mode="lines",
        line={"color": colour, "width": 14, "simplify": False},
    )


def _local_ms(time_s: float) -> float:
    """Return a time as plotly's milliseconds, in this machine's time of day."""
    offset = datetime.fromtimestamp(time_s).astimezone().utcoffset()
    if offset is None:
        return 1e3 * time_s
    return 1e3 * (time_s + offset.total_seconds())
