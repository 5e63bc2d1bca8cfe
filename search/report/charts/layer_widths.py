"""The output channels of each layer, of the base and of the best candidate."""

import plotly.graph_objects as go

from search.report.charts.style import BLUE, GREY
from search.report.results import StudyResults
from search.report.tables import Layer, best_layers


def layers_chart(results: StudyResults) -> go.Figure | str:
    """Draw two bars for each layer; dropped blocks are marked."""
    layers = best_layers(results)
    if not layers:
        return "There is no best candidate yet."
    names = [layer.name for layer in layers]
    widths = []
    notes = []
    for layer in layers:
        widths.append(layer.after or 0)
        notes.append(_note(layer))
    figure = go.Figure()
    base_widths = [layer.before for layer in layers]
    figure.add_bar(x=names, y=base_widths, name="unpruned base", marker_color=GREY)
    figure.add_bar(
        x=names,
        y=widths,
        name="best candidate",
        marker_color=BLUE,
        text=notes,
        textposition="outside",
    )
    figure.update_traces(textangle=-90, constraintext="none")
    return figure.update_layout(yaxis_title="output channels")


def _note(layer: Layer) -> str:
    if layer.after is None:
        return "dropped"
    return ""
