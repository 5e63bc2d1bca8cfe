"""Render Tables 1, 2 and 3 as text: for the terminal, as Markdown, as CSV. The slides show the same cells."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, fields

from rich.table import Table

from compress.quantization import Quantization
from search.report.base_comparison import ESTIMATED_MEANS
from search.report.formatting import NONE, markdown_table, percent, pluralize, significant
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
"""The columns that hold words; the others are aligned to the right."""

EST = " (est.)"
NO_METER = f"{NONE}: no power meter, nothing estimated."
INT8 = "dynamic: dynamic-range quantization; the weights are stored as symmetric int8 (the handout says uint8)."
_POWER, _POWER3 = ("Maximum power", "Average energy"), ("Maximum power", "Average energy", "FoM")


def setting(row: Row) -> str:
    """Return the first column: "0.25, 3 epochs", "none (unpruned base)", "0.25, 3 epochs, dynamic"."""
    parts = [f"{row.fraction:g}" if row.fraction else "none (unpruned base)"]
    if row.fraction or row.epochs:
        parts.append(pluralize(row.epochs, "epoch"))
    if row.quantization != Quantization.FLOAT32:
        parts.append(str(row.quantization))
    return ", ".join(parts)


def columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return COLUMNS, with power and energy marked where every figure under them is estimated."""
    powered = _powered(rows)
    return _marked(COLUMNS, _POWER, bool(powered) and all(row.estimated for row in powered))


def cells(row: Row, mark: bool = False) -> tuple[str, ...]:
    """Return one line of Table 1 or 2 under COLUMNS.

    mark: mark an estimate in its own cell, for a table with both measured and estimated figures.
    """
    return (
        setting(row),
        percent(row.test_accuracy_percent),
        significant(row.peak_memory_mb),
        significant(row.latency_ms),
        _power_cell(row.max_power_w, mark and row.estimated),
        _power_cell(row.energy_mj, mark and row.estimated),
    )


def _power_cell(value: float | None, estimated: bool) -> str:
    shown = significant(value)
    return shown + EST if estimated and value is not None else shown


def body(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the cells of every row. Where measured and estimated figures are mixed, the estimates are marked."""
    mixed = len({row.estimated for row in _powered(rows)}) > 1
    return [cells(row, mixed) for row in rows]


def notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the notes under a table of `rows`: estimates, missing figures, number format, definitions."""
    lines = []
    powered = _powered(rows)
    if any(row.estimated for row in powered):
        lines.append(ESTIMATED_MEANS)
    if len(powered) < len(rows):
        lines.append(NO_METER)
    if any(row.quantization == Quantization.DYNAMIC for row in rows):
        lines.append(INT8)
    return (*lines, *_definitions("FoM"))


def terminal_table(title: str, rows: Sequence[Row]) -> Table:
    """Return Table 1 or 2 for the terminal, with `notes` under it; its heads are short enough for 80 columns."""
    heads = [re.sub(" (usage|consumption|for one image)", "", head) for head in columns(rows)]
    right = range(1, len(heads))
    return plain_table(title, heads, body(rows), "\n".join(notes(rows)), right, unbroken=[0])


def markdown(title: str, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Return Table 1 or 2 as Markdown, with `notes` as a list under it."""
    return _markdown(title, columns(rows), body(rows), notes)


def csv_text(rows: Sequence[Row]) -> str:
    """Return the raw values under the names of Row's fields, with units; an empty cell was not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    return text.getvalue()


def columns3(table: Table3) -> tuple[str, ...]:
    """Return COLUMNS3, with the figures marked that are based on an estimated power."""
    return _marked(COLUMNS3, _POWER3, table.estimated)


def table3_cells(table: Table3) -> tuple[str, ...]:
    """Return the line of Table 3 under COLUMNS3, to four digits; the FoM in % / (ms x mJ)."""
    values = (table.peak_memory_mb, table.latency_ms, table.max_power_w, table.energy_mj)
    figures = (significant(value, 4) for value in values)
    return (percent(table.test_accuracy_percent), *figures, table.framework, significant(table.fom, 4))


def table3_notes(table: Table3) -> tuple[str, ...]:
    """Return the notes under Table 3: the FoM in published units, the runs, estimates, definitions."""
    fom = f"FoM in % / (ms x mJ); in published units {significant(table.fom_published, 4)} 1/(s x J)."
    lines = [fom, runs(table)]
    if table.estimated:
        lines.append(ESTIMATED_MEANS)
    return (*lines, *_definitions())


def runs(table: Table3) -> str:
    """Describe the runs: "Medians of 3 runs ...; largest minus smallest run: latency 1.20 %, ..."."""
    text = "One run over the test set"
    if table.runs > 1:
        text = f"Medians of {table.runs} runs over the entire test set"
    spreads = []
    for name, share in table.spreads.items():
        quantity = name.rsplit("_", 1)[0].replace("_", " ")  # without its unit
        spreads.append(f"{quantity} {100 * share:.2f} %")
    if spreads:
        text += f"; largest minus smallest run: {', '.join(spreads)}"
    return f"{text}."


def table3_terminal(title: str, table: Table3) -> Table:
    """Return Table 3 for the terminal, one figure a line, the deciding ones in bold, with `table3_notes` under it."""
    lines = list(zip(columns3(table), table3_cells(table), strict=True))
    shown = plain_table(title, ("Figure", "Value"), lines, "\n".join(table3_notes(table)), right=())
    for number in BOLD3[table.road]:
        shown.rows[number].style = "bold"
    return shown


def table3_markdown(title: str, table: Table3) -> str:
    """Return Table 3 as Markdown, the deciding figures in bold, with `table3_notes` under it."""
    shown = list(table3_cells(table))
    for number in BOLD3[table.road]:
        shown[number] = f"**{shown[number]}**"
    return _markdown(title, columns3(table), [shown], table3_notes(table))


def _powered(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.max_power_w is not None or row.energy_mj is not None]


def _marked(heads: Sequence[str], starts: tuple[str, ...], estimated: bool) -> tuple[str, ...]:
    """Return the heads; if `estimated`, those that start with one of `starts` are marked as estimates."""
    if not estimated:
        return tuple(heads)
    return tuple(head + EST if head.startswith(starts) else head for head in heads)


def _definitions(*without: str) -> list[str]:
    lines = []
    for name, meaning in DEFINITIONS.items():
        if name not in without:
            lines.append(f"{name[0].upper()}{name[1:]}: {meaning}.")
    return lines


def _markdown(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    right = [number for number, head in enumerate(heads) if head not in TEXTUAL]
    bullets = "\n".join(f"- {note}" for note in notes)
    return f"## {title}\n\n{markdown_table(heads, rows, right)}\n\n{bullets}\n"
