"""Write the slides that a team hands in: five for M1 and M2, one for M3; native tables and charts, no pictures."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pptx.enum.text import PP_ALIGN

from compress.errors import UsageError
from compress.quantization import Quantization
from search.report.formatting import pluralize, significant
from search.submission.slides.layout import (
    HEIGHT,
    LAYOUT_TITLE,
    MARGIN,
    NAVY,
    SOFT,
    WIDTH,
    Box,
    Line,
    TableSpec,
    add_bar,
    add_slide,
    add_table,
    add_text,
    fill_text,
    new_presentation,
)
from search.submission.slides.slide_charts import add_scatter, quantities, series
from search.submission.slides.slide_reader import SlideText, overflows, read_slides
from search.submission.tables.insights import Insights, table1_insights, table2_insights
from search.submission.tables.render import BOLD3, INT8, body, columns, columns3, notes, table3_cells, table3_notes
from search.submission.tables.rows import REQUIRED, Row, Table3
from search.submission.tables.settings import KEEP_PERCENT, Insight

__all__ = ["Deck", "SlideText", "overflows", "read_slides", "write_deck", "write_table3_slide"]

FULL = WIDTH - 2 * MARGIN
MAX_TABLE_ROWS = 24
"""More rows than this are split into two tables side by side. Rows beyond those two are in the CSV only; the rules
require none of them."""

SUBJECTS = {"m1": "structural pruning", "m2": "dynamic quantization"}
ROADS3 = {"latency": "lowest latency", "energy": "lowest energy", "fom": "highest figure of merit"}


@dataclass(frozen=True)
class Deck:
    """The content of the slides of M1 or M2.

    rows: all settings of the milestone's table.
    float_rows: those of Table 1, which M2 is compared with; may be empty.
    facts: lines for the approach slide that the rows do not have: device, runtime, meter, measurement protocol.
    """

    milestone: str  # m1 or m2
    team: str
    members: str
    rows: tuple[Row, ...]
    float_rows: tuple[Row, ...]
    facts: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.milestone not in SUBJECTS:
            raise UsageError(f"milestone must be one of {', '.join(SUBJECTS)}, got {self.milestone!r}")
        if not self.compared:
            raise UsageError(f"no rows for {self.milestone.upper()}: measure at least one setting first")

    @property
    def compared(self) -> tuple[Row, ...]:
        """Return the rows for charts and insights; those with other quantizations are in the table only."""
        wanted = Quantization.DYNAMIC if self.milestone == "m2" else Quantization.FLOAT32
        return tuple(row for row in self.rows if row.quantization == wanted)


def write_deck(path: Path, deck: Deck) -> None:
    """Write the five slides: cover, approach, table, charts with findings, conclusion."""
    name = deck.milestone.upper()
    presentation = new_presentation(f"{name}: {SUBJECTS[deck.milestone]} of MobileNet-v1", _plain(deck.members))
    if deck.milestone == "m2":
        insights = table2_insights(deck.compared, deck.float_rows)
    else:
        insights = table1_insights(deck.compared)
    footer = f"Team {_plain(deck.team)}  |  {name}"
    _cover(presentation, deck)
    _approach(presentation, deck, footer)
    _table(presentation, deck, footer)
    _charts(presentation, deck, insights, footer)
    slide = add_slide(presentation, "Conclusion", footer)
    add_text(slide, Box(MARGIN, 1.3, FULL, 5.4), _lines(insights.conclusion), (24, 12), gap=0.8)
    _save(presentation, path)


def write_table3_slide(path: Path, table: Table3, team: str, members: str, facts: tuple[str, ...]) -> None:
    """Write the one slide of M3: the complete Table 3, with the deciding figures in bold.

    Args:
        path: The .pptx to write.
        table: The line of Table 3.
        team: The team's number or name.
        members: The team's members.
        facts: Lines under the table: device, meter, model.
    """
    team, members = _plain(team), _plain(members)
    presentation = new_presentation("M3: Table 3", members)
    title = f"M3, Table 3: {ROADS3[table.road]} with at least {table.rule_percent:g} % test accuracy"
    slide = add_slide(presentation, title, f"Team {team}  |  M3")
    add_text(slide, Box(MARGIN, 1.1, FULL, 0.4), [Line(members, f"Team {team}:")], (18, 10))
    decisive = {(0, column) for column in BOLD3[table.road]}
    grid = TableSpec(columns3(table), [table3_cells(table)], decisive, marked=decisive, left=(), wrapped=(5,))
    end = add_table(slide, Box(MARGIN, 1.7, FULL, 2.3), grid, (20, 12))
    fom, spread, *meanings = table3_notes(table)
    lines = [Line(fom), Line(spread), *map(_with_lead, facts)]
    add_text(slide, Box(MARGIN, end + 0.25, FULL, 5.7 - end - 0.25), lines, (16, 10), gap=0.3)
    add_text(slide, Box(MARGIN, 5.8, FULL, 1.3), list(map(_with_lead, meanings)), (11, 8), SOFT)
    _save(presentation, path)


def _cover(presentation: Any, deck: Deck) -> None:
    slide = presentation.slides.add_slide(presentation.slide_layouts[LAYOUT_TITLE])
    add_bar(slide, Box(0, 0, 0.4, HEIGHT))
    title = f"{deck.milestone.upper()}: {SUBJECTS[deck.milestone]} of MobileNet-v1"
    fill_text(slide.shapes.title, Box(1.2, 2.1, 11.4, 1.5), [Line(title)], (40, 28), NAVY, bold=True)
    lines = [Line(f"Team {_plain(deck.team)}"), Line(_plain(deck.members))]
    fill_text(slide.placeholders[1], Box(1.2, 3.8, 11.4, 2.2), lines, (26, 14), SOFT, gap=0.4)


def _approach(presentation: Any, deck: Deck, footer: str) -> None:
    """Describe the method from the rows' own parameters and the facts, with a table of the networks beside it."""
    if deck.milestone == "m2":
        title, lines, table = "Approach: 8-bit weights, alone and with pruning", _quantizing(deck), _sizes(deck)
    else:
        title, lines, table = "Approach: prune, fine-tune, deploy", _pruning(deck), _networks(deck.compared)
    slide = add_slide(presentation, title, footer)
    lines += map(_with_lead, deck.facts)
    add_text(slide, Box(MARGIN, 1.3, 6.9, 5.6), lines, (18, 11), gap=0.6)
    add_table(slide, Box(MARGIN + 7.3, 1.35, FULL - 7.3, 5.4), table, (14, 9))


def _pruning(deck: Deck) -> list[Line]:
    return [
        Line(
            "in the stem and in each of the 13 pointwise convolutions the given fraction of the output channels, those "
            "with the lowest L1 norm, is cut out: the network shrinks, nothing is masked with zeros.",
            "Pruning:",
        ),
        Line(f"{_grid(deck.rows)}.", "Grid:"),
        Line("each as a float32 TensorFlow Lite model, on the device below.", "Deployment:"),
    ]


def _quantizing(deck: Deck) -> list[Line]:
    known = {(row.fraction, row.epochs) for row in deck.float_rows}
    both = sum((row.fraction, row.epochs) in known for row in deck.compared)
    lines = [
        Line("TensorFlow Lite's dynamic-range quantization; no calibration images, no training after it.", "Method:"),
        Line(INT8.removeprefix("dynamic: dynamic-range quantization; "), "Weights:"),
        Line(f"{_grid(deck.rows)}.", "Grid:"),
    ]
    if both:
        lines.append(Line(f"{both} of them beside the float32 model of Table 1.", "Comparison:"))
    return lines


def _grid(rows: Sequence[Row]) -> str:
    """Describe the measured settings."""
    pruned = [row for row in rows if row.fraction]
    parts = []
    if len(pruned) < len(rows):
        parts.append("the unpruned base")
    if pruned:
        fractions = _listed({row.fraction for row in pruned})
        epochs = _listed({row.epochs for row in pruned})
        parts.append(f"fractions {fractions} x {epochs} fine-tune epochs")
    return f"{' and '.join(parts)}: {pluralize(len(rows), 'setting')}"


def _networks(rows: Sequence[Row]) -> TableSpec:
    """Return the size of the network by pruning ratio; it is the same after any number of epochs."""
    by_fraction = {row.fraction: row for row in sorted(rows, key=lambda row: (row.fraction, row.epochs))}
    lines = [
        (f"{row.fraction:g}", f"{row.parameters:,}", f"{row.macs:,}", significant(row.model_bytes / 1000))
        for row in by_fraction.values()
    ]
    heads = ("Pruned fraction", "Parameters", "MACs", "Model file [kB]")
    return TableSpec(heads, lines, shaded=range(1, len(lines), 2))


def _sizes(deck: Deck) -> TableSpec:
    """Return the file sizes by pruning ratio, before quantization (where Table 1 has it) and after."""
    before = {row.fraction: row for row in deck.float_rows}
    after = {row.fraction: row for row in sorted(deck.compared, key=lambda row: (row.fraction, row.epochs))}
    lines = []
    for fraction, row in after.items():
        floats = before.get(fraction)
        floats_kb = significant(floats.model_bytes / 1000 if floats else None)
        lines.append((f"{fraction:g}", f"{row.macs:,}", floats_kb, significant(row.model_bytes / 1000)))
    heads = ("Pruned fraction", "MACs", "float32 file [kB]", "dynamic file [kB]")
    return TableSpec(heads, lines, shaded=range(1, len(lines), 2))


def _table(presentation: Any, deck: Deck, footer: str) -> None:
    """Show the complete table, accurate enough settings in bold; definitions are under it and in the notes."""
    table = f"Table {deck.milestone[1]}"
    slide = add_slide(presentation, f"{table}: {pluralize(len(deck.rows), 'setting')} on the device", footer)
    shown = _shown_rows(deck)
    parts = _split(shown)
    width = (FULL - 0.3 * (len(parts) - 1)) / len(parts)
    for place, part in enumerate(parts):
        box = Box(MARGIN + place * (width + 0.3), 1.12, width, 4.95)
        add_table(slide, box, _settings_table(deck.rows, part), (13, 9 if len(parts) == 1 else 8))
    lines = [f"Bold: at least {KEEP_PERCENT:g} % test accuracy."]
    left_out = len(deck.rows) - len(shown)
    if left_out:
        lines.append(f"{left_out} more settings are in the CSV.")
    lines += notes(deck.rows)
    add_text(slide, Box(MARGIN, 6.17, FULL, 0.95), [Line(" ".join(lines))], (10, 8), SOFT)
    slide.notes_slide.notes_text_frame.text = "\n".join(lines)


def _shown_rows(deck: Deck) -> list[Row]:
    """Return the rows that fit on the slide, first of all the required ones, in the table's order."""
    required = REQUIRED[deck.milestone]
    chosen = sorted(deck.rows, key=lambda row: row.key not in required)[: 2 * MAX_TABLE_ROWS]
    return [row for row in deck.rows if row in chosen]


def _split(rows: list[Row]) -> list[list[Row]]:
    """Return the rows as one table, or two if they are too many for one."""
    if len(rows) <= MAX_TABLE_ROWS:
        return [rows]
    half = math.ceil(len(rows) / 2)
    return [rows[:half], rows[half:]]


def _settings_table(rows: Sequence[Row], part: Sequence[Row]) -> TableSpec:
    """Return the cells of `part`, formatted as for all `rows`; every second pruning ratio is shaded."""
    texts = dict(zip(rows, body(rows), strict=True))
    fractions = list(dict.fromkeys(row.fraction for row in rows))
    bold = {(number, 1) for number, row in enumerate(part) if row.test_accuracy_percent >= KEEP_PERCENT}
    shaded = [number for number, row in enumerate(part) if fractions.index(row.fraction) % 2]
    return TableSpec(columns(rows), [texts[row] for row in part], bold, shaded)


def _charts(presentation: Any, deck: Deck, insights: Insights, footer: str) -> None:
    shown = quantities(deck.compared)
    names = [quantity.title.split(" [")[0].removesuffix(" for one image") for quantity in shown]
    title = "Accuracy against " + ", ".join(names[:-1]) + f" and {names[-1]}"
    slide = add_slide(presentation, title, footer)
    groups = series(deck.compared, deck.float_rows if deck.milestone == "m2" else ())
    width = (FULL - 0.2 * (len(shown) - 1)) / len(shown)
    for place, quantity in enumerate(shown):
        add_scatter(slide, Box(MARGIN + place * (width + 0.2), 1.12, width, 3.75), quantity, groups)
    labels = "Numbers beside the points: pruned fraction"
    if any(not row.fraction for row in deck.rows):
        labels += "; 0: the unpruned base"
    add_text(slide, Box(MARGIN, 4.9, FULL, 0.22), [Line(f"{labels}.")], (10, 9), SOFT, align=PP_ALIGN.CENTER)
    add_text(slide, Box(MARGIN, 5.25, FULL, 1.75), _lines(insights.results), (16, 10), gap=0.4)


def _lines(insights: Sequence[Insight]) -> list[Line]:
    return [Line(insight.text, f"{insight.topic}:") for insight in insights]


def _with_lead(text: str) -> Line:
    """Return a line whose words before the colon are bold: "Device: a Pi"."""
    lead, colon, rest = _plain(text).partition(": ")
    return Line(rest, f"{lead}:") if colon else Line(lead)


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted(values))


def _plain(text: str) -> str:
    """Return the text on one line: slides show line breaks as boxes."""
    return " ".join(text.split())


def _save(presentation: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    presentation.save(str(path))
