"""All charts of a study, in the order of its page."""

from collections.abc import Callable
from typing import NamedTuple

import plotly.graph_objects as go

from search.report.charts.accuracy import accuracy_chart
from search.report.charts.bars import importances_chart, seconds_chart
from search.report.charts.history import history_chart
from search.report.charts.layer_widths import layers_chart
from search.report.charts.learning_curves import curves_chart
from search.report.charts.timeline import timeline_chart
from search.report.results import StudyResults


class Chart(NamedTuple):
    """A chart; `name` is its place in the page's template, and its id in the dashboard.

    `draw` returns a figure, or the sentence to show while there is nothing to draw.
    """

    name: str
    title: str
    draw: Callable[[StudyResults], go.Figure | str]


CHARTS = (
    Chart("history_chart", "Objective of each trial", history_chart),
    Chart("accuracy_chart", "Accuracy and latency", accuracy_chart),
    Chart("importances_chart", "What decides the objective", importances_chart),
    Chart("curves_chart", "Learning curves", curves_chart),
    Chart("layers_chart", "Channels of each layer", layers_chart),
    Chart("seconds_chart", "Where the time went", seconds_chart),
    Chart("timeline_chart", "Workers and devices", timeline_chart),
)
