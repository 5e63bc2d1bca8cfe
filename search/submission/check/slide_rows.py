"""Compare the tables on slides, and which of their cells are bold, with what was measured."""

from collections.abc import Sequence

from edge.diagnostics import DOUBTFUL, OK, WRONG, Finding
from search.report.formatting import pluralize
from search.submission.slides.slide_reader import SlideText

Cells = tuple[str, ...]


def check_rows(
    slides: Sequence[SlideText], heads: Cells, required: Sequence[Cells], measured: Sequence[Cells]
) -> Finding:
    """Check that the tables with these heads show all required rows, and only measured ones."""
    shown = [row for slide in slides for grid in slide.tables if grid[:1] == (heads,) for row in grid[1:]]
    if not shown:
        return Finding("slide", "the table with the required columns is missing", WRONG, "thrones submit makes it")
    for row in required:
        if row not in shown:
            says, measured_was = _first_difference(row, shown)
            found = f"says {says}, measured was {measured_was}"
            return Finding("slide", found, WRONG, "show what was measured")
    for row in shown:
        if row not in measured:
            return Finding("slide", f"has a row that was not measured: {row[0]}", WRONG, "show what was measured")
    return Finding("slide", f"{pluralize(len(shown), 'row')} as measured", OK)


def _first_difference(row: Cells, shown: Sequence[Cells]) -> tuple[str, str]:
    """Return the first cell that differs from `row` in the shown row that is most like it, and that of `row`."""
    nearest = max(shown, key=lambda other: sum(a == b for a, b in zip(other, row, strict=False)))
    for says, measured in zip(nearest, row, strict=False):
        if says != measured:
            return says, measured
    return "a row", "another"


def check_bold(slides: Sequence[SlideText], heads: Cells, decisive: Sequence[int]) -> Finding:
    """Check that the figures that decide the road are bold, and no others; `decisive`: their columns."""
    bold = set()
    for slide in slides:
        for grid, marks in zip(slide.tables, slide.bold, strict=True):
            if grid[:1] != (heads,):
                continue
            for line in marks[1:]:
                bold |= {column for column, marked in enumerate(line) if marked}
    wanted = ", ".join(heads[column] for column in decisive)
    if bold == set(decisive):
        return Finding("bold", wanted, OK)
    found = ", ".join(heads[column] for column in sorted(bold)) or "nothing"
    return Finding("bold", found, DOUBTFUL, f"the rules want the road's figures: {wanted}")
