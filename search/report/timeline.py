"""Who did what when: a row for each worker and each board, coloured by what went on."""

from collections import defaultdict
from datetime import datetime
from html import escape
from itertools import chain
from math import nan

import numpy as np
import plotly.graph_objects as go

from search.report.charts import ACTIVITIES, BLUE, GREEN, ORANGE, RED
from search.report.formatting import significant
from search.report.results import Phase, StudyResults

SEGMENTS = 4000
"""So many of the last phases are drawn: a page of ten thousand trials must open at once, and stay readable."""
COLOURS = {"training": BLUE, "conversion": ORANGE, "device": GREEN, "waiting for a device": RED}
ROW_PX = 46


def timeline_chart(results: StudyResults) -> go.Figure | str:
    """The last phases of all trials as bars over time, one row a worker and one a board, with the share of its time."""
    stretches = sorted(
        ((trial.number, trial.worker or "worker", phase) for trial in results.trials for phase in trial.phases),
        key=lambda stretch: stretch[2].start_s,
    )
    if not stretches:
        return "No times have been recorded yet."
    shown = stretches[-SEGMENTS:]
    rows: dict[str, list[tuple[int, Phase]]] = defaultdict(list)
    for number, worker, phase in shown:
        rows[f"worker {worker}" if worker != "worker" else worker].append((number, phase))
    for number, _, phase in shown:
        if phase.board:
            rows[f"board {phase.board}"].append((number, phase))
    names = sorted(rows, key=lambda name: (name.startswith("board "), name))
    start_s = shown[0][2].start_s
    span_s = max(phase.start_s + phase.seconds for _, _, phase in shown) - start_s
    figure = go.Figure()
    for activity, colour in COLOURS.items():
        bars = [
            (row, number, phase)
            for row, name in enumerate(names)
            for number, phase in rows[name]
            if ACTIVITIES.get(phase.name) == activity
        ]
        # One trace an activity, NaN between the bars; a point in the middle, since only points answer the mouse.
        figure.add_scatter(
            x=np.array([*chain(*(_x(phase) for _, _, phase in bars))], float),
            y=np.array([*chain(*((row, row, row, nan) for row, _, _ in bars))], float),
            hovertext=[*chain(*([_hover(number, phase)] * 3 + [""] for _, number, phase in bars))],
            hoverinfo="text",
            name=activity,
            mode="lines",
            line={"color": colour, "width": 14, "simplify": False},
        )
    for row, name in enumerate(names):
        busy_s = sum(phase.seconds for _, phase in rows[name] if phase.name != "waiting")
        label = f"{name}: busy {100 * busy_s / max(span_s, 1e-9):.0f} %"
        place = {"x": 0, "xref": "paper", "xanchor": "left", "y": row, "yshift": 15, "showarrow": False}
        figure.add_annotation(text=escape(label), **place)
    trials = {trial.number for trial in results.trials if trial.phases}
    last = {number for number, _, _ in shown}
    few = f" (the last {len(last):,} of {len(trials):,} trials)" * (len(last) < len(trials))
    return figure.update_layout(
        xaxis={"title": f"time of day{few}", "type": "date"},
        yaxis={"range": [len(names) - 0.5, -0.8], "showticklabels": False, "showgrid": False},
        height=110 + ROW_PX * len(names),
        hovermode="closest",
    )


def _x(phase: Phase) -> tuple[float, float, float, float]:
    """Start, middle and end as plotly's milliseconds, in this machine's time of day, and the gap that follows."""
    ahead = datetime.fromtimestamp(phase.start_s).astimezone().utcoffset()
    start_s = phase.start_s + (ahead.total_seconds() if ahead else 0.0)
    return start_s * 1e3, (start_s + phase.seconds / 2) * 1e3, (start_s + phase.seconds) * 1e3, nan


def _hover(number: int, phase: Phase) -> str:
    return f"trial {number}: {phase.name}, {significant(phase.seconds)} s"
