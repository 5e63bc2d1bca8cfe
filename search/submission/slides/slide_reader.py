"""Read any .pptx: the texts and tables of its slides, and what is outside a slide or a box."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pptx import Presentation
from pptx.enum.shapes import MSO_SHAPE_TYPE
from pptx.enum.text import MSO_AUTO_SIZE

from compress.errors import UsageError, one_line
from search.submission.slides.text_metrics import LINE, line_count

EMU_PER_PT = 12_700
TOLERANCE_PT = 2.0
"""Rounding of positions, and of a text's last line."""

INSETS_PT = {"margin_left": 7.2, "margin_right": 7.2, "margin_top": 3.6, "margin_bottom": 3.6}
"""The margins around a text in PowerPoint where the file does not set them."""

Cells = tuple[tuple[str, ...], ...]
Value = TypeVar("Value")


@dataclass(frozen=True)
class SlideText:
    """The content of a slide.

    texts: those of every shape that is no table, in the order of the file.
    tables: rows of cells' texts.
    bold: for each table the same rows; True where all of a cell's text is bold.
    """

    texts: tuple[str, ...]
    tables: tuple[Cells, ...]
    bold: tuple[tuple[tuple[bool, ...], ...], ...]


def read_slides(path: Path) -> list[SlideText]:
    """Return the slides of a .pptx, whoever made it. Raises UsageError for a file that is none."""
    with _reading(path) as presentation:
        return [_slide_text(slide) for slide in presentation.slides]


def overflows(path: Path) -> list[str]:
    """Return a line for each shape that overflows. Raises UsageError where `path` is no .pptx.

    Boxes must be inside the slide, and text, by an estimate of its height, inside its box. Text is not judged where
    the template sets its size, or where its box grows with it.
    """
    with _reading(path) as presentation:
        size = presentation.slide_width, presentation.slide_height
        return [
            f"slide {number}, {shape.name}: {fault}"
            for number, slide in enumerate(presentation.slides, 1)
            for shape in _flat(slide.shapes)
            for fault in _faults(shape, *size)
        ]


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    try:
        yield Presentation(str(path))
    except Exception as error:  # python-pptx names no errors: damage shows as whatever it breaks
        reason = f"{type(error).__name__}: {one_line(error)}"[:120]
        message = f"{path.name} is not a readable .pptx ({reason})"
        raise UsageError(message, remedy="save it again as PowerPoint presentation") from error


def _flat(shapes: Any) -> Iterator[Any]:
    """Yield the shapes; a group is replaced by its shapes, which are inside its box."""
    for shape in shapes:
        if shape.shape_type == MSO_SHAPE_TYPE.GROUP:
            yield from _flat(shape.shapes)
        else:
            yield shape


def _slide_text(slide: Any) -> SlideText:
    shapes = list(_flat(slide.shapes))
    texts = [shape.text_frame.text for shape in shapes if shape.has_text_frame and shape.text_frame.text.strip()]
    grids = [[list(row.cells) for row in shape.table.rows] for shape in shapes if shape.has_table]
    return SlideText(
        tuple(texts),
        tuple(_map_cells(grid, lambda cell: str(cell.text_frame.text)) for grid in grids),
        tuple(_map_cells(grid, _is_bold) for grid in grids),
    )


def _map_cells(grid: list[list[Any]], get: Callable[[Any], Value]) -> tuple[tuple[Value, ...], ...]:
    return tuple(tuple(get(cell) for cell in row) for row in grid)


def _is_bold(cell: Any) -> bool:
    runs = [run for paragraph in cell.text_frame.paragraphs for run in paragraph.runs if run.text.strip()]
    return bool(runs) and all(run.font.bold for run in runs)


def _faults(shape: Any, slide_width: int, slide_height: int) -> Iterator[str]:
    slack = TOLERANCE_PT * EMU_PER_PT
    if shape.width is None or shape.left is None:
        return  # placed by its layout
    right, bottom = shape.left + shape.width, shape.top + shape.height
    if min(shape.left, shape.top) < -slack or right > slide_width + slack or bottom > slide_height + slack:
        yield "is partly outside the slide"
    if shape.has_table:
        yield from _table_faults(shape.table)
    elif shape.has_text_frame and shape.text_frame.auto_size in (None, MSO_AUTO_SIZE.NONE):
        frame = shape.text_frame
        needed = _needed_pt(frame, frame, shape.width / EMU_PER_PT)
        if needed > shape.height / EMU_PER_PT + TOLERANCE_PT:
            yield f"its text needs about {needed:.0f} pt of height, its box has {shape.height / EMU_PER_PT:.0f} pt"


def _table_faults(table: Any) -> Iterator[str]:
    for number, row in enumerate(table.rows, 1):
        needs = [
            _needed_pt(cell.text_frame, cell, column.width / EMU_PER_PT)
            for cell, column in zip(row.cells, table.columns, strict=True)
            if not (cell.is_merge_origin or cell.is_spanned)
        ]
        if max(needs, default=0) > row.height / EMU_PER_PT + TOLERANCE_PT:
            yield f"row {number} needs about {max(needs):.0f} pt of height, it has {row.height / EMU_PER_PT:.0f} pt"


def _needed_pt(frame: Any, insets: Any, width_pt: float) -> float:
    """Return the height of a text with its insets in points; 0 where the shape does not set its font size."""
    left, right, top, bottom = (_inset(insets, name) for name in INSETS_PT)
    height = 0.0
    for paragraph in frame.paragraphs:
        sizes = [run.font.size or paragraph.font.size for run in paragraph.runs]
        if not sizes:
            continue
        if None in sizes:
            return 0.0
        size = max(sizes).pt
        bold = all(run.font.bold for run in paragraph.runs)
        height += line_count(paragraph.text, size, width_pt - left - right, bold) * size * LINE
        if hasattr(paragraph.space_after, "pt"):  # the last one's, too: some programs draw it
            height += paragraph.space_after.pt
    return height + top + bottom if height else 0.0


def _inset(insets: Any, name: str) -> float:
    value = getattr(insets, name)
    return INSETS_PT[name] if value is None else value / EMU_PER_PT
