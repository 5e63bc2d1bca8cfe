"""Numbers as the terminal and the page show them, in one way."""

import math

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


def counted(number: int, noun: str) -> str:
    """A number of things: "1 epoch", "3 epochs"."""
    return f"{number} {noun}{'s' * (number != 1)}"


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
