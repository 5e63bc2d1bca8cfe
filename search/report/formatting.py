"""Format numbers, plurals and Markdown tables in one way for terminal, pages and files."""

import math
from collections.abc import Collection, Iterable, Sequence

NONE = "–"


def significant(value: float | None, digits: int = 3) -> str:
    """Return `value` to three significant digits, never in powers of ten: 0.0123, 4.80, 97,900."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    value = float(f"{value:.{digits - 1}e}")  # round first: 9.996 becomes 10.0, not 10.00
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def thousands(value: float) -> str:
    """Return a count with commas: 12,841,172."""
    return f"{value:,}"


def share_in_percent(value: float) -> str:
    """Return a share of 1 in percent: 2.00 for 0.02."""
    return significant(100 * value)


def percent(value: float) -> str:
    """Return an accuracy with the two decimals that 10,000 images resolve: 69.96, not 70.0."""
    return f"{value:.2f}"


def text_or_none(value: object) -> str:
    """Return a recorded value as text; None was not found out."""
    if value is None:
        return NONE
    return str(value)


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Return "1 epoch", "3 epochs". `plural` is for nouns that take more than an s."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Return a time for a sentence: "45 s", "12 min"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min"


def mark_estimated(text: str, is_estimated: bool) -> str:
    """Return `text`, followed by "(estimated)" if its figure was not measured."""
    if is_estimated and text != NONE:
        return f"{text} (estimated)"
    return text


def times(base: float | None, best: float | None, better: str, worse: str) -> str:
    """Return how many times smaller `best` is: "12.3 x faster", "1.20 x slower", "the same".

    Args:
        base: The figure to compare with.
        best: The figure of the candidate.
        better: The word for a smaller figure.
        worse: The word for a larger figure.
    """
    if not base or not best:
        return NONE
    if f"{base:.2e}" == f"{best:.2e}":
        return "the same"
    if best < base:
        return f"{significant(base / best)} x {better}"
    return f"{significant(best / base)} x {worse}"


def markdown_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()
) -> str:
    """Return a Markdown table. `right`: the columns that are aligned to the right."""
    alignment = ["---"] * len(heads)
    for column in right:
        alignment[column] = "---:"
    return "\n".join([_markdown_row(heads), _markdown_row(alignment), *map(_markdown_row, rows)])


def _markdown_row(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", r"\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"
