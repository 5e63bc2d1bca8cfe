"""Lay out text and tables on a slide, each as large as its box allows, so that nothing overflows."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.enum.shapes import MSO_SHAPE
from pptx.enum.text import MSO_ANCHOR, MSO_AUTO_SIZE, PP_ALIGN
from pptx.oxml.ns import qn
from pptx.util import Inches, Pt

from search.submission.slides.text_metrics import LINE, height_pt, line_count, width_pt

WIDTH, HEIGHT = 13.333, 7.5  # inches, 16:9
PT_PER_INCH = 72
MARGIN = 0.5
FONT = "Arial"  # on every machine, or one of the same widths
INK, SOFT, NAVY = RGBColor(0x22, 0x26, 0x2E), RGBColor(0x5A, 0x62, 0x6E), RGBColor(0x1F, 0x3A, 0x5F)
WHITE, SHADE, MARK = RGBColor(0xFF, 0xFF, 0xFF), RGBColor(0xEE, 0xF2, 0xF7), RGBColor(0xFF, 0xE9, 0xA8)
LAYOUT_TITLE, LAYOUT_TITLE_ONLY = 0, 5
PAD_PT = 4.0  # left and right of a cell's text
ROW_PAD_PT = 1.0  # above and below it
HEAD_PAD_PT = 5.0  # for the head, both together


class Box(NamedTuple):
    """The place and size of a shape in inches, from the slide's upper left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def place(self) -> tuple[Any, ...]:
        """Return the box as python-pptx takes it."""
        return tuple(map(Inches, self))


class Line(NamedTuple):
    """A paragraph; `lead` comes first, in bold."""

    text: str
    lead: str = ""

    @property
    def whole(self) -> str:
        """Return the lead and the text."""
        return f"{self.lead} {self.text}".strip()


class TableSpec(NamedTuple):
    """The text and the format of a table.

    bold: (row, column) of the cells in bold.
    shaded: the rows on a grey ground.
    marked: (row, column) of the cells on a bright ground.
    left: the columns that are aligned to the left; the others are centred.
    wrapped: the columns whose cells may break into lines.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: Collection[tuple[int, int]] = ()
    shaded: Collection[int] = ()
    marked: Collection[tuple[int, int]] = ()
    left: Collection[int] = (0,)
    wrapped: Collection[int] = ()


def new_presentation(title: str, author: str) -> Any:
    """Return an empty 16:9 presentation. The template of python-pptx is 4:3, so its layouts are stretched."""
    presentation = Presentation()
    stretch = WIDTH / presentation.slide_width.inches
    presentation.slide_width, presentation.slide_height = Inches(WIDTH), Inches(HEIGHT)
    for part in (presentation.slide_master, *presentation.slide_layouts):
        for place in part.element.iter(qn("a:off")):
            place.set("x", str(round(int(place.get("x")) * stretch)))
        for place in part.element.iter(qn("a:ext")):
            if place.get("cx"):  # an extension of the format has the same tag, and no size
                place.set("cx", str(round(int(place.get("cx")) * stretch)))
    presentation.core_properties.title = title
    presentation.core_properties.author = author[:255]  # the format takes no more
    return presentation


def add_slide(presentation: Any, title: str, footer: str) -> Any:
    """Add a slide with a title, a line under it, and a footer that ends in its number."""
    slide = presentation.slides.add_slide(presentation.slide_layouts[LAYOUT_TITLE_ONLY])
    fill_text(slide.shapes.title, Box(MARGIN, 0.3, WIDTH - 2 * MARGIN, 0.65), [Line(title)], (30, 24), NAVY, bold=True)
    add_bar(slide, Box(MARGIN, 0.98, WIDTH - 2 * MARGIN, 0.02))
    number = len(presentation.slides)
    box = Box(MARGIN, HEIGHT - 0.36, WIDTH - 2 * MARGIN, 0.26)
    add_text(slide, box, [Line(f"{footer}  |  {number}")], (10, 8), SOFT, align=PP_ALIGN.RIGHT)
    return slide


def add_bar(slide: Any, box: Box) -> None:
    """Add a filled rectangle without border or shadow: a line, or the cover's band."""
    bar = slide.shapes.add_shape(MSO_SHAPE.RECTANGLE, *box.place)
    bar.fill.solid()
    bar.fill.fore_color.rgb = NAVY
    bar.line.fill.background()
    bar.shadow.inherit = False


def add_text(
    slide: Any, box: Box, lines: Sequence[Line], sizes: tuple[int, int], colour: Any = INK, **how: Any
) -> None:
    """Add a text box; `how`: as `fill_text`."""
    fill_text(slide.shapes.add_textbox(*box.place), box, lines, sizes, colour, **how)


def fill_text(
    shape: Any,
    box: Box,
    lines: Sequence[Line],
    sizes: tuple[int, int],
    colour: Any = INK,
    *,
    bold: bool = False,
    align: Any = PP_ALIGN.LEFT,
    gap: float = 0.0,
) -> None:
    """Put lines of text into a shape, in the largest size that fits.

    Args:
        shape: The shape; it is moved to `box`.
        box: Its place.
        lines: One paragraph each.
        sizes: The largest and the smallest font size in points.
        colour: The colour of all but the leads.
        bold: Whether all is bold, not only the leads.
        align: The alignment of the paragraphs.
        gap: Room after each line, in units of the font size.
    """
    shape.left, shape.top, shape.width, shape.height = box.place
    frame = shape.text_frame
    frame.word_wrap = True
    frame.auto_size = MSO_AUTO_SIZE.NONE
    frame.vertical_anchor = MSO_ANCHOR.TOP
    frame.margin_left = frame.margin_right = frame.margin_top = frame.margin_bottom = 0
    size = _text_size(lines, box, sizes, bold, gap)
    for number, line in enumerate(lines):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        paragraph.alignment = align
        paragraph.space_after = Pt(gap * size)
        if line.lead:
            _add_run(paragraph, line.lead + " ", size, True, NAVY)
        _add_run(paragraph, line.text, size, bold, colour)


def add_table(slide: Any, box: Box, spec: TableSpec, sizes: tuple[int, int]) -> float:
    """Add a native table at the top of `box`, in the largest size that fits; return its lower end in inches."""
    room_pt, height_pt = box.width * PT_PER_INCH, box.height * PT_PER_INCH
    fitting = (size for size in range(sizes[0], sizes[1] - 1, -1) if _table_fits(spec, size, room_pt, height_pt))
    size = next(fitting, sizes[1])
    widths = _column_widths(spec, size, room_pt)
    heights = _loosened(_row_heights(spec, size, widths), height_pt)
    end = box.top + sum(heights) / PT_PER_INCH
    place = Box(box.left, box.top, box.width, end - box.top).place
    table = slide.shapes.add_table(len(spec.rows) + 1, len(spec.heads), *place).table
    for column, width in zip(table.columns, widths, strict=True):
        column.width = Pt(width)
    for row, height in zip(table.rows, heights, strict=True):
        row.height = Pt(height)
    _fill_table(table, spec, size)
    return end


def _loosened(heights: Sequence[float], room_pt: float) -> list[float]:
    """Return the rows' heights with spare room shared out, but not to the head."""
    head, *rows = heights
    factor = min(1.5, max(1.0, (room_pt - head) / sum(rows)))
    return [head, *(height * factor for height in rows)]


def _fill_table(table: Any, spec: TableSpec, size: float) -> None:
    for column, head in enumerate(spec.heads):
        _fill_cell(table.cell(0, column), head, size, True, WHITE, NAVY, left=column in spec.left)
    for row, texts in enumerate(spec.rows):
        for column, text in enumerate(texts):
            bold = (row, column) in spec.bold
            fill = _ground(spec, row, column)
            _fill_cell(table.cell(row + 1, column), text, size, bold, INK, fill, left=column in spec.left)


def _ground(spec: TableSpec, row: int, column: int) -> RGBColor:
    if (row, column) in spec.marked:
        return MARK
    return SHADE if row in spec.shaded else WHITE


def _text_size(lines: Sequence[Line], box: Box, sizes: tuple[int, int], bold: bool, gap: float) -> int:
    texts = [line.whole for line in lines]
    for size in range(sizes[0], sizes[1], -1):
        # Slightly narrower than it is: leads are bold, and fonts differ.
        room_pt = box.width * PT_PER_INCH * 0.97
        if height_pt(texts, size, room_pt, gap * size, bold) <= box.height * PT_PER_INCH:
            return size
    return sizes[1]


def _table_fits(spec: TableSpec, size: float, room_pt: float, height_pt: float) -> bool:
    if sum(_least_widths(spec, size)) > room_pt:
        return False
    return sum(_row_heights(spec, size, _column_widths(spec, size, room_pt))) <= height_pt


def _least_widths(spec: TableSpec, size: float) -> list[float]:
    """Return the width that each column needs to keep figures on one line and the words of its head whole."""
    needs = []
    for column, head in enumerate(spec.heads):
        unbroken = head.split()
        for row in spec.rows:
            unbroken += row[column].split() if column in spec.wrapped else row[column].split("\n")
        widest = max(width_pt(text, size, bold=True) for text in unbroken)
        needs.append(widest + 2 * PAD_PT + 2)
    return needs


def _column_widths(spec: TableSpec, size: float, room_pt: float) -> list[float]:
    """Return the least widths, with spare room shared out by the length of the heads."""
    needs = _least_widths(spec, size)
    heads = [len(head) + 5 for head in spec.heads]
    spare = room_pt - sum(needs)
    if spare < 0:
        return [need * room_pt / sum(needs) for need in needs]
    return [need + spare * head / sum(heads) for need, head in zip(needs, heads, strict=True)]


def _row_heights(spec: TableSpec, size: float, widths: Sequence[float]) -> list[float]:
    """Return the heights in points, the head's first."""
    everything_bold = range(len(spec.heads))
    heights = [_row_height(spec.heads, size, widths, everything_bold) + HEAD_PAD_PT]
    for number, row in enumerate(spec.rows):
        bold = [column for column in range(len(row)) if (number, column) in spec.bold]
        heights.append(_row_height(row, size, widths, bold))
    return heights


def _row_height(cells: Sequence[str], size: float, widths: Sequence[float], bold: Collection[int]) -> float:
    lines = [
        line_count(text, size, width - 2 * PAD_PT, bold=column in bold)
        for column, (text, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return max(lines) * size * LINE + 2 * ROW_PAD_PT


def _fill_cell(cell: Any, text: str, size: float, bold: bool, colour: Any, fill: Any, left: bool) -> None:
    cell.margin_left = cell.margin_right = Pt(PAD_PT)
    cell.margin_top = cell.margin_bottom = Pt(ROW_PAD_PT)
    cell.vertical_anchor = MSO_ANCHOR.MIDDLE
    cell.fill.solid()
    cell.fill.fore_color.rgb = fill
    for number, part in enumerate(text.split("\n")):
        frame = cell.text_frame
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        paragraph.alignment = PP_ALIGN.LEFT if left else PP_ALIGN.CENTER
        _add_run(paragraph, part, size, bold, colour)


def _add_run(paragraph: Any, text: str, size: float, bold: bool, colour: Any) -> None:
    run = paragraph.add_run()
    run.text = text
    run.font.name = FONT
    run.font.size = Pt(size)
    run.font.bold = bold
    run.font.color.rgb = colour
