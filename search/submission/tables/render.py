"""Tables 1, 2 and 3 as text: for the terminal, as Markdown, as CSV; the slides show the same cells."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, fields

from rich.table import Table

from compress.quantization import Quantization
from search.report.comparison import ESTIMATED_MEANS
from search.report.formatting import NONE, percent, pluralize, significant
from search.report.tables import plain_table
from search.submission.tables.rows import DEFINITIONS, Row, Table3

COLUMNS = (
    "Pruning parameters",
    "Test accuracy [%]",
    "Maximum memory usage [MB]",
    "Average latency for one image [ms]",
    "Maximum power consumption [W]",
    "Average energy consumption for one image [mJ]",
)
"""The heads of Tables 1 and 2, as the handout words them."""

COLUMNS3 = (*COLUMNS[1:], "Framework used", "FoM")
"""The heads of Table 3."""

BOLD3 = {"latency": (0, 2), "energy": (0, 4), "fom": (6,)}
"""For each road, the columns of Table 3 that decide it."""

TEXTUAL = (COLUMNS[0], "Framework used")
"""The columns that hold words; the others stand to the right."""

EST = " (est.)"
NO_METER = f"{NONE}: no power meter, nothing estimated."
INT8 = "dynamic: dynamic-range quantization; the weights are stored as symmetric int8 (the handout says uint8)."
_POWER, _POWER3 = ("Maximum power", "Average energy"), ("Maximum power", "Average energy", "FoM")


def setting(row: Row) -> str:
    """The first column: "0.25, 3 epochs", "none (unpruned base)", "0.25, 3 epochs, dynamic"."""
    parts = [f"{row.fraction:g}"] if row.fraction else ["none (unpruned base)"]
    if row.fraction or row.epochs:
        parts.append(pluralize(row.epochs, "epoch"))
    return ", ".join(parts + [row.quantization] * (row.quantization != Quantization.FLOAT32))


def columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """COLUMNS, with power and energy marked where every figure under them is estimated."""
    return _marked(COLUMNS, _POWER, all(row.estimated for row in _powered(rows)) and bool(_powered(rows)))


def cells(row: Row, mark: bool = False) -> tuple[str, ...]:
    """One line of Table 1 or 2 under COLUMNS; `mark` an estimate in its own cell, where the head cannot say it."""
    mean = EST * (mark and row.estimated)
    power = [significant(value) + mean * (value is not None) for value in (row.max_power_w, row.energy_mj)]
    figures = (percent(row.test_accuracy_percent), significant(row.peak_memory_mb), significant(row.latency_ms))
    return (setting(row), *figures, *power)


def body(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The cells of every row; estimates are marked one by one where measured figures stand beside them."""
    mixed = len({row.estimated for row in _powered(rows)}) > 1
    return [cells(row, mixed) for row in rows]


def notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """What must stand under a table of `rows`: estimates, missing figures, number format, definitions."""
    said = [ESTIMATED_MEANS] if any(row.estimated for row in _powered(rows)) else []
    said += [NO_METER] if len(_powered(rows)) < len(rows) else []
    said += [INT8] if any(row.quantization == Quantization.DYNAMIC for row in rows) else []
    return (*said, *_defined("FoM"))


def terminal_table(title: str, rows: Sequence[Row]) -> Table:
    """Table 1 or 2 for the terminal, with `notes` under it; its heads without the words that 80 columns would break."""
    heads = [re.sub(" (usage|consumption|for one image)", "", head) for head in columns(rows)]
    right = range(1, len(heads))
    return plain_table(title, heads, body(rows), "\n".join(notes(rows)), right, unbroken=[0])


def markdown(title: str, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Table 1 or 2 as Markdown, each of `notes` in a line under it."""
    return _markdown(title, columns(rows), body(rows), notes)


def csv_text(rows: Sequence[Row]) -> str:
    """The raw values under the names of Row's fields, units in the names; an empty cell is a figure not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    return text.getvalue()


def columns3(table: Table3) -> tuple[str, ...]:
    """COLUMNS3, with what rests on an estimated power marked."""
    return _marked(COLUMNS3, _POWER3, table.estimated)


def table3_cells(table: Table3) -> tuple[str, ...]:
    """The line of Table 3 under COLUMNS3, to four digits; the FoM in % / (ms x mJ)."""
    values = (table.peak_memory_mb, table.latency_ms, table.max_power_w, table.energy_mj)
    figures = (significant(value, 4) for value in values)
    return (percent(table.test_accuracy_percent), *figures, table.framework, significant(table.fom, 4))


def table3_notes(table: Table3) -> tuple[str, ...]:
    """What must stand under Table 3: the FoM in published units, the runs, estimates, definitions."""
    said = [f"FoM in % / (ms x mJ); in published units {significant(table.fom_published, 4)} 1/(s x J).", runs(table)]
    return (*said, *[ESTIMATED_MEANS] * table.estimated, *_defined())


def runs(table: Table3) -> str:
    """How many runs, and how far they lie apart: "Medians of 3 runs ...; largest minus smallest: latency 1.20 %"."""
    said = f"Medians of {table.runs} runs over the entire test set" if table.runs > 1 else "One run over the test set"
    apart = [f"{name.rsplit('_', 1)[0].replace('_', ' ')} {100 * share:.2f} %" for name, share in table.spreads.items()]
    return said + ("; largest minus smallest run: " + ", ".join(apart)) * bool(apart) + "."


def table3_terminal(title: str, table: Table3) -> Table:
    """Table 3 for the terminal, a line for each figure, the road's in bold, with `table3_notes` under it."""
    lines = list(zip(columns3(table), table3_cells(table), strict=True))
    shown = plain_table(title, ("Figure", "Value"), lines, "\n".join(table3_notes(table)), right=())
    for number in BOLD3[table.road]:
        shown.rows[number].style = "bold"
    return shown


def table3_markdown(title: str, table: Table3) -> str:
    """Table 3 as Markdown, the road's figures in bold, with `table3_notes` under it."""
    shown = [f"**{cell}**" if n in BOLD3[table.road] else cell for n, cell in enumerate(table3_cells(table))]
    return _markdown(title, columns3(table), [shown], table3_notes(table))


def _powered(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.max_power_w is not None or row.energy_mj is not None]


def _marked(heads: Sequence[str], starts: tuple[str, ...], estimated: bool) -> tuple[str, ...]:
    return tuple(head + EST * (estimated and head.startswith(starts)) for head in heads)


def _defined(*without: str) -> list[str]:
    said = [f"{name}: {meaning}." for name, meaning in DEFINITIONS.items() if name not in without]
    return [line[0].upper() + line[1:] for line in said]


def _markdown(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    lines = [heads, ["---" if head in TEXTUAL else "---:" for head in heads], *rows]
    table = ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines]
    return "\n".join([f"## {title}", "", *table, "", *(f"- {note}" for note in notes), ""])
