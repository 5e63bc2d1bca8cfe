"""Text and tables on a slide, each as large as its box allows, so that nothing runs over."""

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
MARGIN = 0.5
FONT = "Arial"  # on every machine, or one of the same widths
INK, SOFT, NAVY = RGBColor(0x22, 0x26, 0x2E), RGBColor(0x5A, 0x62, 0x6E), RGBColor(0x1F, 0x3A, 0x5F)
WHITE, SHADE, MARK = RGBColor(0xFF, 0xFF, 0xFF), RGBColor(0xEE, 0xF2, 0xF7), RGBColor(0xFF, 0xE9, 0xA8)
LAYOUT_TITLE, LAYOUT_TITLE_ONLY = 0, 5
PAD_PT = 4.0  # left and right of a cell's text
ROW_PAD_PT = 1.0  # above and below it
HEAD_PAD_PT = 5.0  # for the head, both together


class Box(NamedTuple):
    """Where a shape lies on the slide, in inches from its upper left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def place(self) -> tuple[Any, ...]:
        """The same as python-pptx takes it."""
        return tuple(map(Inches, self))


class Line(NamedTuple):
    """A paragraph; `lead` stands before it in bold."""

    text: str
    lead: str = ""

    @property
    def whole(self) -> str:
        """All of its text."""
        return f"{self.lead} {self.text}".strip()


class Grid(NamedTuple):
    """A table's text.

    bold, marked: (row, column) of the cells in bold and on a bright ground. shaded: rows on a grey one.
    left: columns of words, to the left; the others are centred. wrapped: columns whose cells may break into lines.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: Collection[tuple[int, int]] = ()
    shaded: Collection[int] = ()
    marked: Collection[tuple[int, int]] = ()
    left: Collection[int] = (0,)
    wrapped: Collection[int] = ()


def new_presentation(title: str, author: str) -> Any:
    """An empty 16:9 presentation; python-pptx's template is 4:3, so its layouts are stretched."""
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
    """A slide with a title, a rule under it, and a footer that ends in its number."""
    slide = presentation.slides.add_slide(presentation.slide_layouts[LAYOUT_TITLE_ONLY])
    fill_text(slide.shapes.title, Box(MARGIN, 0.3, WIDTH - 2 * MARGIN, 0.65), [Line(title)], (30, 24), NAVY, bold=True)
    add_bar(slide, Box(MARGIN, 0.98, WIDTH - 2 * MARGIN, 0.02))
    number = len(presentation.slides)
    box = Box(MARGIN, HEIGHT - 0.36, WIDTH - 2 * MARGIN, 0.26)
    add_text(slide, box, [Line(f"{footer}  |  {number}")], (10, 8), SOFT, align=PP_ALIGN.RIGHT)
    return slide


def add_bar(slide: Any, box: Box) -> None:
    """A filled rectangle without line or shadow: a rule, or the cover's band."""
    bar = slide.shapes.add_shape(MSO_SHAPE.RECTANGLE, *box.place)
    bar.fill.solid()
    bar.fill.fore_color.rgb = NAVY
    bar.line.fill.background()
    bar.shadow.inherit = False


def add_text(
    slide: Any, box: Box, lines: Sequence[Line], sizes: tuple[int, int], colour: Any = INK, **how: Any
) -> None:
    """A text box; see `fill_text`."""
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
    """Put `lines` into `shape` at `box`, in the largest size from sizes[0] down to sizes[1] points that fits.

    gap: room after each line, in units of the font size.
    """
    shape.left, shape.top, shape.width, shape.height = box.place
    frame = shape.text_frame
    frame.word_wrap, frame.auto_size, frame.vertical_anchor = True, MSO_AUTO_SIZE.NONE, MSO_ANCHOR.TOP
    frame.margin_left = frame.margin_right = frame.margin_top = frame.margin_bottom = 0
    size = _text_size(lines, box, sizes, bold, gap)
    for number, line in enumerate(lines):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        paragraph.alignment, paragraph.space_after = align, Pt(gap * size)
        if line.lead:
            _add_run(paragraph, line.lead + " ", size, True, NAVY)
        _add_run(paragraph, line.text, size, bold, colour)


def add_table(slide: Any, box: Box, grid: Grid, sizes: tuple[int, int]) -> float:
    """A native table at the top of `box`, in the largest size that fits; returns where it ends, in inches."""
    room = box.width * 72
    fitting = (size for size in range(sizes[0], sizes[1] - 1, -1) if _table_fits(grid, size, room, box.height * 72))
    size = next(fitting, sizes[1])
    widths = _column_widths(grid, size, room)
    heights = _row_heights(grid, size, widths)
    spare = box.height * 72 - heights[0]  # goes between the lines
    loose = min(1.5, max(1.0, spare / sum(heights[1:])))
    heights = [heights[0], *(height * loose for height in heights[1:])]
    place = Box(box.left, box.top, box.width, sum(heights) / 72).place
    frame = slide.shapes.add_table(len(grid.rows) + 1, len(grid.heads), *place)
    for column, width in zip(frame.table.columns, widths, strict=True):
        column.width = Pt(width)
    for row, height in zip(frame.table.rows, heights, strict=True):
        row.height = Pt(height)
    for column, head in enumerate(grid.heads):
        _fill_cell(frame.table.cell(0, column), head, size, True, WHITE, NAVY, left=column in grid.left)
    for row, texts in enumerate(grid.rows):
        for column, text in enumerate(texts):
            fill = MARK if (row, column) in grid.marked else SHADE if row in grid.shaded else WHITE
            bold = (row, column) in grid.bold
            _fill_cell(frame.table.cell(row + 1, column), text, size, bold, INK, fill, left=column in grid.left)
    return box.top + sum(heights) / 72


def _text_size(lines: Sequence[Line], box: Box, sizes: tuple[int, int], bold: bool, gap: float) -> int:
    texts = [line.whole for line in lines]
    for size in range(sizes[0], sizes[1], -1):
        # Slightly narrower than it is: leads are bold, and fonts differ.
        if height_pt(texts, size, box.width * 72 * 0.97, gap * size, bold) <= box.height * 72:
            return size
    return sizes[1]


def _table_fits(grid: Grid, size: float, room_pt: float, height: float) -> bool:
    widths = _least_widths(grid, size)
    return sum(widths) <= room_pt and sum(_row_heights(grid, size, _column_widths(grid, size, room_pt))) <= height


def _least_widths(grid: Grid, size: float) -> list[float]:
    """What each column needs so that its figures stand on one line and no word of its head is cut."""
    needs = []
    for column, head in enumerate(grid.heads):
        cells = [row[column] for row in grid.rows]
        texts = [part for cell in cells for part in (cell.split() if column in grid.wrapped else cell.split("\n"))]
        words = max(width_pt(word, size, bold=True) for word in head.split())
        needs.append(max([words, *(width_pt(text, size, bold=True) for text in texts)]) + 2 * PAD_PT + 2)
    return needs


def _column_widths(grid: Grid, size: float, room_pt: float) -> list[float]:
    """The least widths, and what is left over shared out by the length of the heads."""
    needs, heads = _least_widths(grid, size), [len(head) + 5 for head in grid.heads]
    spare = room_pt - sum(needs)
    if spare < 0:
        return [need * room_pt / sum(needs) for need in needs]
    return [need + spare * head / sum(heads) for need, head in zip(needs, heads, strict=True)]


def _row_heights(grid: Grid, size: float, widths: Sequence[float]) -> list[float]:
    heights = []
    for number, row in enumerate([grid.heads, *grid.rows]):
        cells = [
            line_count(text, size, width - 2 * PAD_PT, bold=number == 0 or (number - 1, column) in grid.bold)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        heights.append(max(cells) * size * LINE + 2 * ROW_PAD_PT + HEAD_PAD_PT * (number == 0))
    return heights


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
    run.font.name, run.font.size, run.font.bold, run.font.color.rgb = FONT, Pt(size), bold, colour
