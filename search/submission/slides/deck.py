"""The slides that a team hands in: five for M1 and M2, one for M3; native tables and charts, no pictures."""

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
    Grid,
    Line,
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
ONE_TABLE = 24
"""More rows than this stand in two tables side by side; what two such tables cannot hold stands in the CSV, and is none
of those that the rules ask for."""

SUBJECTS = {"m1": "structural pruning", "m2": "dynamic quantization"}
ROADS3 = {"latency": "lowest latency", "energy": "lowest energy", "fom": "highest figure of merit"}


@dataclass(frozen=True)
class Deck:
    """What the slides of M1 or M2 are made of.

    rows: all settings of the milestone's table. float_rows: Table 1's, which M2 compares with; may be empty.
    facts: lines for the approach slide that the rows do not hold: device, runtime, meter, measuring plan.
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
        """The rows that the charts and findings are about; those in other formats stand in the table alone."""
        wanted = Quantization.DYNAMIC if self.milestone == "m2" else Quantization.FLOAT32
        return tuple(row for row in self.rows if row.quantization == wanted)


def write_deck(path: Path, deck: Deck) -> None:
    """Write the five slides: cover, approach, table, charts with findings, conclusion."""
    name = deck.milestone.upper()
    presentation = new_presentation(f"{name}: {SUBJECTS[deck.milestone]} of MobileNet-v1", _plain(deck.members))
    quantized = deck.milestone == "m2"
    said = table2_insights(deck.compared, deck.float_rows) if quantized else table1_insights(deck.compared)
    footer = f"Team {_plain(deck.team)}  |  {name}"
    _cover(presentation, deck)
    _approach(presentation, deck, footer)
    _table(presentation, deck, footer)
    _charts(presentation, deck, said, footer)
    slide = add_slide(presentation, "Conclusion", footer)
    add_text(slide, Box(MARGIN, 1.3, FULL, 5.4), _lines(said.conclusion), (24, 12), gap=0.8)
    _save(presentation, path)


def write_table3_slide(path: Path, table: Table3, team: str, members: str, facts: tuple[str, ...]) -> None:
    """Write the one slide of M3: the complete Table 3, the figures that decide the road in bold."""
    team, members = _plain(team), _plain(members)
    presentation = new_presentation("M3: Table 3", members)
    title = f"M3, Table 3: {ROADS3[table.road]} with at least {table.rule_percent:g} % test accuracy"
    slide = add_slide(presentation, title, f"Team {team}  |  M3")
    add_text(slide, Box(MARGIN, 1.1, FULL, 0.4), [Line(members, f"Team {team}:")], (18, 10))
    decisive = {(0, column) for column in BOLD3[table.road]}
    grid = Grid(columns3(table), [table3_cells(table)], decisive, marked=decisive, left=(), wrapped=(5,))
    end = add_table(slide, Box(MARGIN, 1.7, FULL, 2.3), grid, (20, 12))
    fom, spread, *meanings = table3_notes(table)
    lines = [Line(fom), Line(spread), *map(_led, facts)]
    add_text(slide, Box(MARGIN, end + 0.25, FULL, 5.7 - end - 0.25), lines, (16, 10), gap=0.3)
    add_text(slide, Box(MARGIN, 5.8, FULL, 1.3), list(map(_led, meanings)), (11, 8), SOFT)
    _save(presentation, path)


def _cover(presentation: Any, deck: Deck) -> None:
    slide = presentation.slides.add_slide(presentation.slide_layouts[LAYOUT_TITLE])
    add_bar(slide, Box(0, 0, 0.4, HEIGHT))
    title = f"{deck.milestone.upper()}: {SUBJECTS[deck.milestone]} of MobileNet-v1"
    fill_text(slide.shapes.title, Box(1.2, 2.1, 11.4, 1.5), [Line(title)], (40, 28), NAVY, bold=True)
    lines = [Line(f"Team {_plain(deck.team)}"), Line(_plain(deck.members))]
    fill_text(slide.placeholders[1], Box(1.2, 3.8, 11.4, 2.2), lines, (26, 14), SOFT, gap=0.4)


def _approach(presentation: Any, deck: Deck, footer: str) -> None:
    """What was done, from the rows' own parameters and the facts; the structures in a table beside it."""
    quantized = deck.milestone == "m2"
    title = "Approach: 8-bit weights, alone and with pruning" if quantized else "Approach: prune, fine-tune, deploy"
    slide = add_slide(presentation, title, footer)
    lines = [*(_quantizing(deck) if quantized else _pruning(deck)), *map(_led, deck.facts)]
    add_text(slide, Box(MARGIN, 1.3, 6.9, 5.6), lines, (18, 11), gap=0.6)
    box = Box(MARGIN + 7.3, 1.35, FULL - 7.3, 5.4)
    add_table(slide, box, _sizes(deck) if quantized else _structures(deck.compared), (14, 9))


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
    return lines + [Line(f"{both} of them beside the float32 model of Table 1.", "Comparison:")] * (both > 0)


def _grid(rows: Sequence[Row]) -> str:
    """Which settings were measured."""
    fractions, epochs = ({getattr(row, name) for row in rows if row.fraction} for name in ("fraction", "epochs"))
    parts = ["the unpruned base"] * any(not row.fraction for row in rows)
    parts += [f"fractions {_listed(fractions)} x {_listed(epochs)} fine-tune epochs"] * bool(fractions)
    return f"{' and '.join(parts)}: {pluralize(len(rows), 'setting')}"


def _structures(rows: Sequence[Row]) -> Grid:
    """What each fraction leaves of the network; the same after any number of epochs."""
    by_fraction = {row.fraction: row for row in sorted(rows, key=lambda row: (row.fraction, row.epochs))}
    lines = [
        (f"{row.fraction:g}", f"{row.parameters:,}", f"{row.macs:,}", significant(row.model_bytes / 1000))
        for row in by_fraction.values()
    ]
    return Grid(("Pruned fraction", "Parameters", "MACs", "Model file [kB]"), lines, shaded=range(1, len(lines), 2))


def _sizes(deck: Deck) -> Grid:
    """The file of each fraction before and after quantization, where Table 1 has it."""
    before = {row.fraction: row for row in deck.float_rows}
    after = {row.fraction: row for row in sorted(deck.compared, key=lambda row: (row.fraction, row.epochs))}
    lines = []
    for fraction, row in after.items():
        floats = before.get(fraction)
        kilobytes = [significant(model.model_bytes / 1000 if model else None) for model in (floats, row)]
        lines.append((f"{fraction:g}", f"{row.macs:,}", *kilobytes))
    heads = ("Pruned fraction", "MACs", "float32 file [kB]", "dynamic file [kB]")
    return Grid(heads, lines, shaded=range(1, len(lines), 2))


def _table(presentation: Any, deck: Deck, footer: str) -> None:
    """The complete table; the accuracies that keep the rule in bold; definitions under it and in the notes."""
    number = {"m1": 1, "m2": 2}[deck.milestone]
    slide = add_slide(presentation, f"Table {number}: {pluralize(len(deck.rows), 'setting')} on the device", footer)
    required = REQUIRED[deck.milestone]
    first = sorted(deck.rows, key=lambda row: row.key not in required)[: 2 * ONE_TABLE]
    shown = [row for row in deck.rows if row in first]
    per_table = len(shown) if len(shown) <= ONE_TABLE else -(-len(shown) // 2)
    parts = [shown[start : start + per_table] for start in range(0, len(shown), per_table)]
    width = (FULL - 0.3 * (len(parts) - 1)) / len(parts)
    for place, part in enumerate(parts):
        box = Box(MARGIN + place * (width + 0.3), 1.12, width, 4.95)
        add_table(slide, box, _settings_grid(deck.rows, part), (13, 9 if len(parts) == 1 else 8))
    left_out = len(deck.rows) - len(shown)
    caption = [f"Bold: at least {KEEP_PERCENT:g} % test accuracy."]
    caption += [f"{left_out} more settings stand in the CSV."] * (left_out > 0)
    said = [*caption, *notes(deck.rows)]
    add_text(slide, Box(MARGIN, 6.17, FULL, 0.95), [Line(" ".join(said))], (10, 8), SOFT)
    slide.notes_slide.notes_text_frame.text = "\n".join(said)


def _settings_grid(rows: Sequence[Row], part: Sequence[Row]) -> Grid:
    """The cells of `part`, marked as all of `rows` ask for; every second fraction shaded."""
    texts = dict(zip(rows, body(rows), strict=True))
    fractions = list(dict.fromkeys(row.fraction for row in rows))
    bold = {(number, 1) for number, row in enumerate(part) if row.test_accuracy_percent >= KEEP_PERCENT}
    shaded = [number for number, row in enumerate(part) if fractions.index(row.fraction) % 2]
    return Grid(columns(rows), [texts[row] for row in part], bold, shaded)


def _charts(presentation: Any, deck: Deck, said: Insights, footer: str) -> None:
    shown = quantities(deck.compared)
    names = [quantity.title.split(" [")[0].removesuffix(" for one image") for quantity in shown]
    title = "Accuracy against " + ", ".join(names[:-1]) + f" and {names[-1]}"
    slide = add_slide(presentation, title, footer)
    groups = series(deck.compared, deck.float_rows if deck.milestone == "m2" else ())
    width = (FULL - 0.2 * (len(shown) - 1)) / len(shown)
    for place, quantity in enumerate(shown):
        add_scatter(slide, Box(MARGIN + place * (width + 0.2), 1.12, width, 3.75), quantity, groups)
    base = "; 0: the unpruned base" * any(not row.fraction for row in deck.rows)
    labels = Line(f"Numbers beside the points: pruned fraction{base}.")
    add_text(slide, Box(MARGIN, 4.9, FULL, 0.22), [labels], (10, 9), SOFT, align=PP_ALIGN.CENTER)
    add_text(slide, Box(MARGIN, 5.25, FULL, 1.75), _lines(said.results), (16, 10), gap=0.4)


def _lines(findings: Sequence[Insight]) -> list[Line]:
    return [Line(finding.text, f"{finding.topic}:") for finding in findings]


def _led(text: str) -> Line:
    """ "Device: a Pi" with its first words in bold."""
    lead, colon, rest = _plain(text).partition(": ")
    return Line(rest, f"{lead}:") if colon else Line(lead)


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted(values))


def _plain(text: str) -> str:
    """One line: what a team types may hold line breaks, which a slide shows as boxes."""
    return " ".join(text.split())


def _save(presentation: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    presentation.save(str(path))
