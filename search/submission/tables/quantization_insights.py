"""Compute what Table 2 says: quantized settings against the float rows of the same settings."""

from collections.abc import Sequence
from statistics import median

from search.report.formatting import pluralize, significant
from search.submission.tables.rows import Row
from search.submission.tables.settings import KEEP_PERCENT, Insight, Pair, described, gain, keeping, least, named


def matched(rows: Sequence[Row], float_rows: Sequence[Row]) -> list[Pair]:
    """Pair each quantized row with the float row of the same pruning ratio and epochs, where there is one."""
    floats = {(row.fraction, row.epochs): row for row in float_rows}
    pairs = []
    for row in rows:
        before = floats.get((row.fraction, row.epochs))
        if before is not None:
            pairs.append((before, row))
    return pairs


def quantized_size(pairs: Sequence[Pair]) -> Insight | None:
    """Say how many times smaller the dynamic models are."""
    if not pairs:
        return None
    ratios = [before.model_bytes / after.model_bytes for before, after in pairs]
    text = f"dynamic quantization makes the file {significant(median(ratios))} x smaller{_range(ratios)}"
    larger = sum(ratio < 1 for ratio in ratios)
    if larger:
        text += f", larger in {larger}"
    return Insight("Size", f"{text}.")


def quantized_latency(pairs: Sequence[Pair]) -> Insight | None:
    """Say whether dynamic models are faster or slower than the float ones, and in how many settings."""
    if not pairs:
        return None
    ratios = [after.latency_ms / before.latency_ms for before, after in pairs]
    slower = sum(ratio > 1 for ratio in ratios)
    text = f"dynamic takes {significant(median(ratios))} x the time of float32{_range(ratios)}, "
    text += f"longer in {slower} of {pluralize(len(pairs), 'setting')}."
    return Insight("Latency", text)


def quantized_accuracy(pairs: Sequence[Pair]) -> Insight | None:
    """Say what the 8-bit weights cost in points: the median, and the largest loss with its setting."""
    if not pairs:
        return None
    changes = [gain(before, after) for before, after in pairs]
    worst = min(range(len(pairs)), key=changes.__getitem__)
    text = f"the 8-bit weights change it by {median(changes):+.2f} points in the median; "
    if changes[worst] < 0:
        text += f"the largest loss is {-changes[worst]:.2f} at {named(pairs[worst][1])}."
    else:
        text += f"no setting loses any, the least gain is {changes[worst]:+.2f}."
    return Insight("Accuracy", text)


def accurate_enough(rows: Sequence[Row]) -> Insight | None:
    """Say which settings keep 70 %, by pruning ratio."""
    if not rows:
        return None
    kept: dict[float, list[str]] = {}
    for row in sorted(keeping(rows), key=lambda row: (row.fraction, row.epochs)):
        kept.setdefault(row.fraction, []).append(str(row.epochs))
    text = f"{sum(map(len, kept.values()))} of {pluralize(len(rows), 'setting')} keep {KEEP_PERCENT:g} %"
    if kept:
        places = [f"{fraction:g} ({', '.join(epochs)})" for fraction, epochs in kept.items()]
        text += f": fraction (epochs) {', '.join(places)}"
    return Insight("Accurate enough", f"{text}.")


def recommendation(pairs: Sequence[Pair]) -> Insight | None:
    """Recommend a quantization: the fastest and the smallest that keep 70 %, of float and dynamic together."""
    kept = keeping(row for pair in pairs for row in pair)
    if not kept:
        return None
    fastest = least(kept, lambda row: row.latency_ms)
    smallest = least(kept, lambda row: row.model_bytes)
    if fastest == smallest:
        return Insight("Recommendation", f"{_quantized(fastest)} is both the fastest and the smallest.")
    text = f"for latency {_quantized(fastest)}; for size {_quantized(smallest)}."
    return Insight("Recommendation", text)


def _quantized(row: Row) -> str:
    return f"{row.quantization} at {described(row)}"


def _range(ratios: Sequence[float]) -> str:
    if len(ratios) == 1:
        return ""
    low, high = significant(min(ratios)), significant(max(ratios))
    return f" in the median of {pluralize(len(ratios), 'setting')} ({low} to {high} x)"
