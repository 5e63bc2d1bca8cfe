"""Read the tables of a submission that was made without thrones, as people write them, and check their claims."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge.diagnostics import DOUBTFUL, OK, WRONG, Finding
from search.report.formatting import percent, pluralize, significant
from search.submission.slides.slide_reader import Cells, SlideText
from search.submission.tables.rows import REQUIRED

TABLE_COLUMNS = ("memory", "latency", "power", "energy")
"""Words in the heads of Tables 1 and 2, whatever else is written there."""
TABLE3_COLUMNS = ("accuracy", "latency", "energy", "fom|figure of merit")
"""Words in the heads of those columns of Table 3 that can be verified."""
_MS_PER_UNIT = {"s": 1000.0, "ms": 1.0, "us": 0.001, "µs": 0.001, "μs": 0.001}
_MJ_PER_UNIT = {"j": 1000.0, "mj": 1.0, "uj": 0.001, "µj": 0.001, "μj": 0.001}
FOM_UNITS = (1.0, 0.01, 10_000.0)
"""% / (ms x mJ), accuracy as a fraction / (ms x mJ), and as published entries have it, 1 / (s x J)."""
MAX_FOM_ERROR = 0.02
"""Relative error of a FoM that was computed from rounded figures."""

_NUMBER = re.compile(r"(\d[\d.,]*)\s*(?:[eE]([-+]?\d+)|[x×·*]\s*10\s*\^?\s*([-+−]?\d+))?")
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")
_DECIMAL_COMMA = re.compile(r"\d,\d{1,2}(?!\d)")
_UNIT = re.compile(r"(?<![a-zµμ])([mµμu]?[sj])(?![a-z])", re.IGNORECASE)
_BLANKS = dict.fromkeys(map(ord, "\u00a0\u202f\u2009'"))


@dataclass(frozen=True)
class Claim:
    """A line of Table 3.

    fom: in whatever units it was given.
    bold: True where some figure of the line is.
    """

    accuracy_percent: float
    latency_ms: float
    energy_mj: float
    fom: float
    bold: bool


def number(text: str, decimal_commas: bool = False) -> float | None:
    """Return the first number in a cell, None where there is none.

    Reads "1,234.5", "72,00", "1.25e-3", "4.3 x 10^4" and "71.66 %".
    """
    found = _NUMBER.search(text.translate(_BLANKS))
    if found is None:
        return None
    digits = found[1].rstrip(".,")
    exponent = (found[2] or found[3] or "0").replace("−", "-")
    decimal = _decimal_mark(digits, decimal_commas)
    for mark in ",.":
        digits = digits.replace(mark, "_" if mark == decimal else "")
    return float(f"{digits.replace('_', '.')}e{exponent}")


def _decimal_mark(digits: str, decimal_commas: bool) -> str:
    """Return the character before the decimals, "" where the marks separate thousands."""
    if "," in digits and "." in digits:
        mark = max(",.", key=digits.rfind)
    elif "," in digits and (decimal_commas or not _THOUSANDS.fullmatch(digits)):
        mark = ","
    else:
        mark = "."
    return mark if digits.count(mark) == 1 else ""  # 1.234.567: thousands


def read_claims(slides: Sequence[SlideText]) -> list[Claim]:
    """Return the lines of every Table 3 on the slides, upright or transposed, that can be read."""
    found: list[Claim] = []
    for slide in slides:
        for grid, bold in zip(slide.tables, slide.bold, strict=True):
            transposed = tuple(zip(*grid, strict=True)), tuple(zip(*bold, strict=True))
            found += _lines(grid, bold) or _lines(*transposed)
    return found


def _lines(grid: Cells, bold: Sequence[Sequence[bool]]) -> list[Claim]:
    columns = _columns(grid, TABLE3_COLUMNS)
    if columns is None:
        return []
    heads = [grid[0][column] for column in columns]
    found = []
    for cells, marked in zip(grid[1:], bold[1:], strict=True):
        claim = _claim(heads, [cells[column] for column in columns], _has_decimal_commas(cells), any(marked))
        if claim is not None:
            found.append(claim)
    return found


def _has_decimal_commas(cells: Sequence[str]) -> bool:
    return any(_DECIMAL_COMMA.search(text) for text in cells)


def _claim(heads: Sequence[str], cells: Sequence[str], decimal_commas: bool, bold: bool) -> Claim | None:
    """Return the claim of a line, None where a figure cannot be read; cells and heads of TABLE3_COLUMNS."""
    accuracy, latency, energy, fom = (number(text, decimal_commas) for text in cells)
    if accuracy is None or not latency or not energy or fom is None:
        return None
    return Claim(
        accuracy_percent=accuracy * 100 if accuracy <= 1 else accuracy,
        latency_ms=latency * _factor(cells[1], heads[1], _MS_PER_UNIT),
        energy_mj=energy * _factor(cells[2], heads[2], _MJ_PER_UNIT),
        fom=fom,
        bold=bold,
    )


def _columns(grid: Cells, words: Sequence[str]) -> list[int] | None:
    """Return the columns of the table whose heads have these words; None where one is missing."""
    heads = grid[0] if grid else ()
    found = []
    for word in words:
        column = next((n for n, head in enumerate(heads) if re.search(word, head, re.IGNORECASE)), None)
        if column is None:
            return None
        found.append(column)
    return found


def _factor(cell: str, head: str, units: Mapping[str, float]) -> float:
    """Return the factor to ms or mJ: of the unit in the figure's cell, or else in its head, or else 1."""
    for text in (cell, head):
        for unit in _UNIT.findall(text):
            if unit.lower() in units:
                return units[unit.lower()]
    return 1.0


def check_fom(claim: Claim) -> Finding:
    """Check that the figure of merit follows from its own line."""
    right = claim.accuracy_percent / (claim.latency_ms * claim.energy_mj)
    found = f"{significant(claim.fom)}, accuracy / (latency x energy) is {significant(right)} % / (ms x mJ)"
    if any(abs(claim.fom / (right * unit) - 1) < MAX_FOM_ERROR for unit in FOM_UNITS):
        return Finding("FoM", found, OK)
    return Finding("FoM", found, WRONG, "compute it from the same row")


def check_others(claims: Sequence[Claim], own: Claim) -> Iterator[Finding]:
    """Report the lines that are not the model's."""
    for claim in claims:
        if claim != own:
            found = f"another line says {percent(claim.accuracy_percent)} % in {significant(claim.latency_ms)} ms"
            yield Finding("Table 3", found, DOUBTFUL, "it belongs to another model: Table 3 has one line a model")


def check_table(slides: Sequence[SlideText], milestone: int) -> Iterator[Finding]:
    """Check Table 1 or 2 on the slides: the required columns, and enough lines of numbers in them."""
    if not slides:
        return  # reported already
    counts = []
    for slide in slides:
        for grid in slide.tables:
            columns = _columns(grid, TABLE_COLUMNS)
            if columns is not None:
                counts.append(_count_lines(grid, columns))
    table, wanted = f"Table {milestone}", len(REQUIRED[f"m{milestone}"])
    if not counts:
        found = f"no table with columns for {', '.join(TABLE_COLUMNS)}"
        yield Finding(table, found, WRONG, "the rules ask for all of them")
    elif sum(counts) < wanted:
        found = f"{pluralize(sum(counts), 'line')} with all four figures, the rules ask for {wanted} settings"
        yield Finding(table, found, WRONG, "run the grid to its end")
    else:
        found = f"{sum(counts)} settings on the slides, without raw figures to verify them"
        yield Finding(table, found, DOUBTFUL, "thrones submit packs both")


def _count_lines(grid: Cells, columns: Sequence[int]) -> int:
    """Return how many lines have numbers in all of these columns."""
    return sum(all(number(line[column]) is not None for column in columns) for line in grid[1:])
