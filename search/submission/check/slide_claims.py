"""What a submission claims that was made without thrones: the tables on its slides, read as people write them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge.diagnostics import DOUBTFUL, OK, WRONG, Finding
from search.report.formatting import percent, pluralize, significant
from search.submission.slides.slide_reader import Cells, SlideText
from search.submission.tables.rows import REQUIRED

WANTED = ("memory", "latency", "power", "energy")
"""What the columns of Tables 1 and 2 are called, whatever else stands in their heads."""
DECIDING = ("accuracy", "latency", "energy", "fom|figure of merit")
"""The columns of Table 3 that can be held against something."""
_TIMES = {"s": 1000.0, "ms": 1.0, "us": 0.001, "µs": 0.001, "μs": 0.001}
_ENERGIES = {"j": 1000.0, "mj": 1.0, "uj": 0.001, "µj": 0.001, "μj": 0.001}
FOM_UNITS = (1.0, 0.01, 10_000.0)
"""% / (ms x mJ), accuracy as a fraction / (ms x mJ), and as published entries have it, 1 / (s x J)."""

_NUMBER = re.compile(r"(\d[\d.,]*)\s*(?:[eE]([-+]?\d+)|[x×·*]\s*10\s*\^?\s*([-+−]?\d+))?")
_UNIT = re.compile(r"(?<![a-zµμ])([mµμu]?[sj])(?![a-z])", re.IGNORECASE)
_BLANKS = dict.fromkeys(map(ord, "\u00a0\u202f\u2009'"))


@dataclass(frozen=True)
class Claim:
    """A line of Table 3; `fom` in whatever units it was given. `bold`: some figure of the line is."""

    accuracy_percent: float
    latency_ms: float
    energy_mj: float
    fom: float
    bold: bool


def number(text: str, decimal_commas: bool = False) -> float | None:
    """The first number in a cell: "1,234.5", "72,00", "1.25e-3", "4.3 x 10^4", "71.66 %"; None where there is none."""
    found = _NUMBER.search(text.translate(_BLANKS))
    if found is None:
        return None
    digits, power = found[1].rstrip(".,"), (found[2] or found[3] or "0").replace("−", "-")
    if "," in digits and "." in digits:
        decimal = max(",.", key=digits.rfind)
    elif decimal_commas or not re.fullmatch(r"\d{1,3}(,\d{3})+", digits):
        decimal = "," if "," in digits else "."
    else:
        decimal = "."  # 12,345: thousands
    if digits.count(decimal) > 1:
        decimal = "none"  # 1.234.567: thousands
    digits = "".join(c if c.isdigit() else "." if c == decimal else "" for c in digits)
    return float(f"{digits}e{power}")


def claims(slides: Sequence[SlideText]) -> list[Claim]:
    """The lines of every Table 3 on the slides, upright or lying, that can be read."""
    found: list[Claim] = []
    for slide in slides:
        for grid, bold in zip(slide.tables, slide.bold, strict=True):
            turned = tuple(zip(*grid, strict=True)), tuple(zip(*bold, strict=True))
            found += next(filter(None, (_lines(grid, bold), _lines(*turned))), [])
    return found


def _lines(grid: Cells, bold: Sequence[Sequence[bool]]) -> list[Claim]:
    columns = _columns(grid, DECIDING)
    if columns is None:
        return []
    heads, found = [grid[0][column] for column in columns], []
    for cells, marked in zip(grid[1:], bold[1:], strict=True):
        texts = [cells[column] for column in columns]
        commas = any(re.search(r"\d,\d{1,2}(?!\d)", text) for text in cells)
        accuracy, latency, energy, fom = (number(text, commas) for text in texts)
        if accuracy is None or not latency or not energy or fom is None:
            continue
        found.append(
            Claim(
                accuracy_percent=accuracy * 100 if accuracy <= 1 else accuracy,
                latency_ms=latency * _unit(texts[1], heads[1], _TIMES),
                energy_mj=energy * _unit(texts[2], heads[2], _ENERGIES),
                fom=fom,
                bold=any(marked),
            )
        )
    return found


def _columns(grid: Cells, names: Sequence[str]) -> list[int] | None:
    """Where in the table's first line each of these stands; None where one is missing."""
    heads = grid[0] if grid else ()
    found = [next((n for n, head in enumerate(heads) if re.search(name, head, re.IGNORECASE)), None) for name in names]
    return [column for column in found if column is not None] if None not in found else None


def _unit(cell: str, head: str, units: dict[str, float]) -> float:
    """What a figure is times, to be in ms or mJ: by the unit in its cell, or in its head, or as it is."""
    for text in (cell, head):
        for unit in _UNIT.findall(text):
            if unit.lower() in units:
                return units[unit.lower()]
    return 1.0


def fom(claim: Claim) -> Finding:
    """Whether the figure of merit is that of its own line."""
    right = claim.accuracy_percent / (claim.latency_ms * claim.energy_mj)
    fits = any(abs(claim.fom / (right * unit) - 1) < 0.02 for unit in FOM_UNITS)
    told = f"{significant(claim.fom)}, accuracy / (latency x energy) is {significant(right)} % / (ms x mJ)"
    return Finding("FoM", told, OK if fits else WRONG, "" if fits else "compute it from the same row")


def others(claims: Sequence[Claim], own: Claim) -> Iterator[Finding]:
    """The lines that are not the model's."""
    for claim in claims:
        if claim != own:
            found = f"another line says {percent(claim.accuracy_percent)} % in {significant(claim.latency_ms)} ms"
            yield Finding("Table 3", found, DOUBTFUL, "it is of another model: one line for each is asked for")


def table(slides: Sequence[SlideText], milestone: int) -> Iterator[Finding]:
    """Table 1 or 2 on the slides: the columns that the rules ask for, and enough lines of numbers in them."""
    if not slides:
        return  # told already
    counts = [
        sum(all(number(line[column]) is not None for column in columns) for line in grid[1:])
        for slide in slides
        for grid in slide.tables
        if (columns := _columns(grid, WANTED)) is not None
    ]
    what, wanted = f"Table {milestone}", len(REQUIRED[f"m{milestone}"])
    if not counts:
        yield Finding(what, f"no table with columns for {', '.join(WANTED)}", WRONG, "the rules ask for all of them")
    elif sum(counts) < wanted:
        found = f"{pluralize(sum(counts), 'line')} with all four figures, the rules ask for {wanted} settings"
        yield Finding(what, found, WRONG, "run the grid to its end")
    else:
        found = f"{sum(counts)} settings on the slides, without raw figures to hold them against"
        yield Finding(what, found, DOUBTFUL, "thrones submit packs both")
