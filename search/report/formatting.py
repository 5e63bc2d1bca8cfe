"""Format numbers, plurals and Markdown tables in one way for terminal, pages and files."""

import math
from collections.abc import Collection, Iterable, Sequence

NONE = "–"


def significant(value: float | None, digits: int = 3) -> str:
    """`value` to three significant digits, never in powers of ten: 0.0123, 4.80, 97,900."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    value = float(f"{value:.{digits - 1}e}")  # rounding first: 9.996 has one decimal fewer than it seems
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def percent(value: float) -> str:
    """An accuracy with the two decimals that 10,000 images resolve: 69.96 must not be read as 70.0."""
    return f"{value:.2f}"


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Return a number of things: "1 epoch", "3 epochs". `plural` is for nouns that take more than an s."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {plural or noun + 's'}"


def lasting(seconds: float) -> str:
    """A time as one says it: "45 s", "12 min"."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def marked(text: str, estimated: bool) -> str:
    """`text`, followed by "(estimated)" where it was not measured."""
    return f"{text} (estimated)" if estimated and text != NONE else text


def times(base: float | None, best: float | None, better: str, worse: str) -> str:
    """How many times smaller `best` is, in words: "12.3 x faster", "1.20 x slower", "the same"."""
    if not base or not best:
        return NONE
    if f"{base:.2e}" == f"{best:.2e}":
        return "the same"
    return f"{significant(max(base, best) / min(base, best))} x {better if best < base else worse}"


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> str:
    """Return a Markdown table. `right`: the columns that are aligned to the right."""

    def line(cells: Iterable[str]) -> str:
        escaped = (cell.replace("|", r"\|").replace("\n", " ") for cell in cells)
        return f"| {' | '.join(escaped)} |"

    alignment = ("---:" if column in right else "---" for column in range(len(heads)))
    return "\n".join([line(heads), line(alignment), *map(line, rows)])
