"""The look of all charts, on the study's page and in the dashboard, light and dark."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from search.report.formatting import significant

BLUE = "#0072b2"  # the colours of Okabe and Ito, which colour-blind people can tell apart
ORANGE = "#e69f00"
GREEN = "#009e73"
RED = "#d55e00"
PURPLE = "#cc79a7"
GREY = "#808080"
CLEAR = "rgba(0,0,0,0)"
GRID = "rgba(128,128,128,0.25)"
DEFAULT_HEIGHT_PX = 400
MIN_LOG_RATIO = 3
"""An axis is logarithmic where its largest value is at least this many times the smallest."""


def page_html(name: str, figure: go.Figure | str) -> str:
    """Return a chart as HTML without plotly.js; a sentence in its place becomes a paragraph."""
    if isinstance(figure, str):
        return f'<p class="soft">{escape(figure)}</p>'
    height_px = figure.layout.height or DEFAULT_HEIGHT_PX
    right_px = figure.layout.margin.r or 10
    _apply_style(figure)
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"l": 10, "r": right_px, "t": 10, "b": 10},
        font_size=12,
    )
    config = {"responsive": True, "displayModeBar": False}
    html = figure.to_html(config, full_html=False, include_plotlyjs=False, div_id=name)
    return f'<div class="plot" style="height: {height_px}px">{html}</div>'


def style_for_dashboard(figure: go.Figure, title: str) -> None:
    """Give a chart its title and the look that suits the dashboard."""
    _apply_style(figure)
    figure.update_layout(
        title={"text": title, "x": 0.02},
        legend={"orientation": "h", "x": 0, "y": -0.2},
        margin={"l": 10, "t": 60, "b": 10},
        modebar_bgcolor=CLEAR,
    )


def value_axis(values: Sequence[float]) -> dict[str, Any]:
    """Return a log axis with plain numbers at 1, 2, 5, 10 ...; a linear one for close values."""
    lowest = min(values)
    highest = max(values)
    if lowest <= 0 or highest / lowest < MIN_LOG_RATIO:
        return {"type": "linear"}
    ticks = []
    for power in range(-6, 12):
        for step in _tick_steps(highest / lowest):
            ticks.append(step * 10.0**power)
    labels = [significant(tick, 1) for tick in ticks]
    return {"type": "log", "tickvals": ticks, "ticktext": labels}


def _tick_steps(ratio: float) -> tuple[int, ...]:
    if ratio < 100:
        return (1, 2, 5)
    if ratio < 10_000:
        return (1, 3)
    return (1,)


def _apply_style(figure: go.Figure) -> None:
    """Make a chart transparent and grey, which suits light and dark; the page decides its size."""
    figure.update_layout(
        template="none",
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font_color=GREY,
        height=None,
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, automargin=True)
