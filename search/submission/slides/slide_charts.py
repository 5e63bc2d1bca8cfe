"""Draw native scatter charts of accuracy against latency, memory or energy, with a series for each number of epochs."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pptx.chart.data import XyChartData
from pptx.dml.color import RGBColor
from pptx.enum.chart import XL_AXIS_CROSSES, XL_CHART_TYPE, XL_LABEL_POSITION, XL_LEGEND_POSITION, XL_MARKER_STYLE
from pptx.enum.dml import MSO_LINE_DASH_STYLE
from pptx.oxml.ns import qn
from pptx.oxml.xmlchemy import OxmlElement
from pptx.util import Pt

from search.report.formatting import pluralize
from search.submission.slides.layout import FONT, INK, SOFT, Box
from search.submission.tables.render import EST
from search.submission.tables.rows import Row
from search.submission.tables.settings import KEEP_PERCENT

MAX_LINEAR_RATIO = 10.0
"""The axis is logarithmic where the largest value is more than this many times the smallest."""

COLOURS = tuple(map(RGBColor.from_string, ("E07B39", "2A6EBB", "2E8B57", "8E44AD", "B8860B", "C0392B")))
MARKERS = (XL_MARKER_STYLE.TRIANGLE, XL_MARKER_STYLE.CIRCLE, XL_MARKER_STYLE.SQUARE)
GRID = RGBColor(0xD9, 0xDE, 0xE5)
LABEL_WIDTH, LABEL_HEIGHT = 0.1, 0.08
"""Shares of the axes; labels nearer to each other than that would overlap."""


class Quantity(NamedTuple):
    """A quantity on the horizontal axis; `power`: it rests on the power meter."""

    title: str
    get: Callable[[Row], float | None]
    power: bool = False


QUANTITIES = (
    Quantity("latency for one image [ms]", lambda row: row.latency_ms),
    Quantity("peak memory [MB]", lambda row: row.peak_memory_mb),
    Quantity("energy for one image [mJ]", lambda row: row.energy_mj, power=True),
)


class Group(NamedTuple):
    """The points of one colour; `beside`: the models that the others are compared with."""

    name: str
    rows: list[Row]
    beside: bool = False


class Axis(NamedTuple):
    """Limits, distance of the ticks (None: powers of ten), and number format of an axis."""

    low: float
    high: float
    step: float | None
    number_format: str


def quantities(rows: Sequence[Row]) -> list[Quantity]:
    """Return those of QUANTITIES that `rows` have. Energy must be known, and not both measured and estimated."""
    energies = [row for row in rows if row.energy_mj]
    alike = len({row.estimated for row in energies}) == 1
    return [quantity for quantity in QUANTITIES if not quantity.power or (energies and alike)]


def series(rows: Sequence[Row], beside: Sequence[Row] = ()) -> list[Group]:
    """Group the rows by fine-tune epochs; the unpruned base has none.

    beside: float rows that quantized ones are compared with; those with the most epochs become another group.
    """
    groups = [
        Group(pluralize(epochs, "epoch"), [row for row in rows if row.epochs == epochs])
        for epochs in sorted({row.epochs for row in rows})
    ]
    most = max((row.epochs for row in beside), default=0)
    floats = [row for row in beside if row.epochs == most]
    if floats:
        groups.append(Group(f"float32, {pluralize(most, 'epoch')}", floats, beside=True))
    return groups


def axis(values: Sequence[float]) -> Axis:
    """Return round limits around `values`: logarithmic where they span more than MAX_LINEAR_RATIO, else linear."""
    low, high = min(values), max(values)
    if low > 0 and high / low > MAX_LINEAR_RATIO:
        return Axis(_round_down(low / 1.1), _round_up(high * 1.1), None, "General")  # no point on the frame
    spread = (high - low) or abs(high) / 10 or 1.0
    step = _round_up(spread / 4)
    first = math.floor((low - spread / 20) / step) * step
    last = math.ceil((high + spread / 20) / step) * step
    decimals = max(0, -math.floor(math.log10(step)))
    number_format = f"{0:.{decimals}f}"  # "0", "0.0", "0.00"
    return Axis(max(first, 0.0), last, step, number_format)


def add_scatter(slide: Any, box: Box, quantity: Quantity, groups: Sequence[Group]) -> None:
    """Add a chart: test accuracy against `quantity`, and the required accuracy as a dashed line."""
    known = [group._replace(rows=[row for row in group.rows if quantity.get(row) is not None]) for group in groups]
    known = [group for group in known if group.rows]
    rows = [row for group in known for row in group.rows]
    across = axis([value for row in rows if (value := quantity.get(row)) is not None])
    chart = slide.shapes.add_chart(XL_CHART_TYPE.XY_SCATTER, *box.place, _chart_data(quantity, known, across)).chart
    title = quantity.title
    if quantity.power and any(row.estimated for row in rows):
        title += EST
    _format_axis(chart.category_axis, across, title)
    _format_axis(chart.value_axis, Axis(0, 100, 20, "0"), "test accuracy [%]")
    _set_font(chart.font, 10)
    chart.has_title = False
    chart.has_legend = True
    chart.legend.position = XL_LEGEND_POSITION.BOTTOM
    chart.legend.include_in_layout = False
    _format_series(chart, known)
    _label_points(chart, known, quantity, across)


def _chart_data(quantity: Quantity, groups: Sequence[Group], across: Axis) -> XyChartData:
    data = XyChartData()
    for group in groups:
        points = data.add_series(group.name)
        # A single point is added twice: LibreOffice does not draw a series of one point.
        for row in group.rows * (2 if len(group.rows) == 1 else 1):
            points.add_data_point(quantity.get(row), row.test_accuracy_percent)
    rule = data.add_series(f"{KEEP_PERCENT:g} % rule")
    for x in (across.low, across.high):
        rule.add_data_point(x, KEEP_PERCENT)
    return data


def _set_font(font: Any, size: int) -> None:
    font.name = FONT
    font.size = Pt(size)
    font.color.rgb = INK


def _format_axis(shown: Any, limits: Axis, title: str) -> None:
    shown.minimum_scale = limits.low
    shown.maximum_scale = limits.high
    shown.crosses = XL_AXIS_CROSSES.MINIMUM  # automatically: at 1, in the middle of a logarithmic axis
    shown.has_major_gridlines = True
    shown.major_gridlines.format.line.color.rgb = GRID
    shown.format.line.color.rgb = SOFT
    shown.tick_labels.number_format = limits.number_format
    shown.tick_labels.number_format_is_linked = False
    if limits.step:
        shown.major_unit = limits.step
    else:
        base = OxmlElement("c:logBase")  # python-pptx has no logarithmic axes
        base.set("val", "10")
        shown._element.find(qn("c:scaling")).insert(0, base)
    shown.has_title = True
    paragraph = shown.axis_title.text_frame.paragraphs[0]
    run = paragraph.add_run()
    run.text = title
    run.font.bold = False
    _set_font(run.font, 11)


def _format_series(chart: Any, groups: Sequence[Group]) -> None:
    *shown, rule = chart.plots[0].series
    for number, (line, group) in enumerate(zip(shown, groups, strict=True)):
        line.format.line.fill.background()
        line.marker.size = 8
        line.marker.style = XL_MARKER_STYLE.DIAMOND if group.beside else MARKERS[number % len(MARKERS)]
        colour = SOFT if group.beside else COLOURS[number % len(COLOURS)]
        line.marker.format.line.color.rgb = colour
        line.marker.format.fill.solid()
        line.marker.format.fill.fore_color.rgb = colour
    rule.marker.style = XL_MARKER_STYLE.NONE
    rule.format.line.color.rgb = SOFT
    rule.format.line.width = Pt(1.25)
    rule.format.line.dash_style = MSO_LINE_DASH_STYLE.DASH


def _label_points(chart: Any, groups: Sequence[Group], quantity: Quantity, across: Axis) -> None:
    """Write the pruning ratio above or below the base and the points with the most epochs, where it hides no other."""
    own = [group for group in groups if not group.beside]
    places = [
        (_share(across, quantity.get(row) or 0.0), number, point, row)
        for number, group in enumerate(own)
        for point, row in enumerate(group.rows)
        if group == own[-1] or not row.fraction
    ]
    taken: list[tuple[float, float]] = []
    for share, number, point, row in sorted(places, key=lambda place: place[0]):
        for side, distance in ((XL_LABEL_POSITION.ABOVE, 0.08), (XL_LABEL_POSITION.BELOW, -0.08)):
            height = row.test_accuracy_percent / 100 + distance
            if all(abs(share - x) > LABEL_WIDTH or abs(height - y) > LABEL_HEIGHT for x, y in taken):
                taken.append((share, height))
                _label_point(chart.plots[0].series[number].points[point].data_label, f"{row.fraction:g}", side)
                break


def _label_point(label: Any, text: str, side: Any) -> None:
    run = label.text_frame.paragraphs[0].add_run()
    run.text = text
    _set_font(run.font, 9)
    label.position = side


def _share(across: Axis, value: float) -> float:
    """Return the place of `value` on the axis, 0 to 1."""
    scale = float if across.step else math.log
    return (scale(value) - scale(across.low)) / (scale(across.high) - scale(across.low))



def _round_down(value: float) -> float:
    """Return the largest of 1, 2, 5 x 10^n at or below `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 5) if step * power <= value * 1.000001)


def _round_up(value: float) -> float:
    """Return the smallest of 1, 2, 5 x 10^n at or above `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return min(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999999)
