"""Describe and compare the settings of Tables 1 and 2 in running text."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from search.report.formatting import percent, pluralize, significant
from search.submission.tables.rows import Row

KEEP_PERCENT = 70.0
"""The test accuracy that the competition requires; settings are judged by it."""
MAX_EQUAL_RATIO = 1.1
"""Two ratios that differ by less than this factor are called the same."""
MAX_EQUAL_COST_RATIO = 1.02
"""Settings that cost at most this many times the least count as equal; accuracy decides between them."""

Pair = tuple[Row, Row]
"""A float row and the quantized row of the same pruning ratio and epochs."""


class Insight(NamedTuple):
    """One sentence or two, and a topic of two or three words."""

    topic: str
    text: str


def named(row: Row) -> str:
    """Name a setting in running text: "fraction 0.25 after 3 epochs", "the unpruned base"."""
    if row.epochs:
        return f"{network(row)} after {pluralize(row.epochs, 'epoch')}"
    if row.fraction > 0:
        return f"{network(row)} without fine-tuning"
    return network(row)


def network(row: Row) -> str:
    """Name the network of a setting, whatever its epochs."""
    return f"fraction {row.fraction:g}" if row.fraction else "the unpruned base"


def described(row: Row) -> str:
    """Name a setting with its accuracy, latency and size."""
    kilobytes = f"{significant(row.model_bytes / 1000)} kB"
    return f"{named(row)}, {percent(row.test_accuracy_percent)} %, {significant(row.latency_ms)} ms, {kilobytes}"


def keeping(rows: Iterable[Row]) -> list[Row]:
    """Return the rows with at least KEEP_PERCENT test accuracy."""
    return [row for row in rows if row.test_accuracy_percent >= KEEP_PERCENT]


def gain(before: Row, after: Row) -> float:
    """Return the gain in test accuracy in points."""
    return after.test_accuracy_percent - before.test_accuracy_percent


def unpruned_base(rows: Sequence[Row]) -> Row | None:
    """Return the unpruned row with the fewest epochs, None without one."""
    return min((row for row in rows if not row.fraction), key=lambda row: row.epochs, default=None)


def least(rows: Sequence[Row], cost: Callable[[Row], float]) -> Row:
    """Return the most accurate of the rows that cost about the least, as the competition decides between close ones."""
    limit = MAX_EQUAL_COST_RATIO * min(map(cost, rows))
    return max((row for row in rows if cost(row) <= limit), key=lambda row: row.test_accuracy_percent)
