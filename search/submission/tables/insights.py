"""What Tables 1 and 2 say, as sentences computed from their rows; what cannot be computed is left out."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import NamedTuple

from search.report.formatting import percent, pluralize, significant, times
from search.submission.tables.rows import Row

KEEP_PERCENT = 70.0
"""The test accuracy that the competition asks for; settings are judged by it."""

ALIKE = 1.1
"""Two ratios that differ by less than this factor are called the same."""

CLOSE = 1.02
"""A setting that costs so many times the least counts as equal; then accuracy decides."""

Pair = tuple[Row, Row]


class Finding(NamedTuple):
    """One sentence or two, and in two or three words what they are about."""

    topic: str
    text: str


class Findings(NamedTuple):
    """What a table says, by the slide that it belongs on: beside the charts, or at the end."""

    results: tuple[Finding, ...]
    conclusion: tuple[Finding, ...]


def named(row: Row) -> str:
    """A setting in running text: "fraction 0.25 after 3 epochs", "the unpruned base"."""
    if row.epochs:
        return f"{_structure(row)} after {pluralize(row.epochs, 'epoch')}"
    return _structure(row) + " without fine-tuning" * (row.fraction > 0)


def without_tuning(rows: Sequence[Row]) -> Finding | None:
    """Where accuracy breaks down when nothing is fine-tuned: between which two fractions it falls most."""
    by_fraction = {row.fraction: row for row in rows if row.epochs == 0}
    untuned = [by_fraction[fraction] for fraction in sorted(by_fraction)]
    if len(untuned) < 2:
        return None
    start, last = untuned[0], untuned[-1]
    text = f"accuracy goes from {percent(start.test_accuracy_percent)} % ({_structure(start)}) to "
    text += f"{percent(last.test_accuracy_percent)} % ({_structure(last)})"
    before, after = max(zip(untuned, untuned[1:], strict=False), key=lambda two: -_gain(*two))
    if len(untuned) > 2 and _gain(before, after) < 0:
        fall = percent(-_gain(before, after))
        text += f"; the steepest fall, {fall} points, lies between fractions {before.fraction:g} and {after.fraction:g}"
    kept = [f"{row.fraction:g}" for row in untuned if row.test_accuracy_percent >= KEEP_PERCENT]
    text += (
        f"; {KEEP_PERCENT:g} % is kept at fraction " + ", ".join(kept) if kept else f"; none keeps {KEEP_PERCENT:g} %"
    )
    return Finding("Without fine-tuning", text + ".")


def tuning(rows: Sequence[Row]) -> Finding | None:
    """What the most epochs bring over none, in points, where most and where least; and what the last ones still add."""
    steps = sorted({row.epochs for row in rows if row.fraction})
    gains = _gains(rows, 0, steps[-1]) if len(steps) > 1 and steps[0] == 0 else {}
    if not gains:
        return None
    best, least = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
    text = f"{pluralize(steps[-1], 'epoch')} bring {gains[best]:+.2f} points at fraction {best:g}"
    text += f", the most, and {gains[least]:+.2f} at {least:g}, the least" * (best != least) + "."
    last = _gains(rows, steps[-2], steps[-1]) if len(steps) > 2 else {}
    if last:
        most = max(last, key=last.__getitem__)
        text += f" From {steps[-2]} to {pluralize(steps[-1], 'epoch')} "
        text += f"the median gain is {median(last.values()):+.2f}, "
        text += f"the largest {last[most]:+.2f} points (fraction {most:g})."
    return Finding("Fine-tuning", text)


def trade_off(rows: Sequence[Row]) -> Finding | None:
    """Size against accuracy: the smallest setting that keeps 70 %, or the most accurate one, beside the base."""
    pruned, base = [row for row in rows if row.fraction], _base(rows)
    keeping = [row for row in pruned if row.test_accuracy_percent >= KEEP_PERCENT]
    if not pruned:
        return None
    if keeping:
        chosen = _least(keeping, lambda row: row.model_bytes)
        text = f"the smallest that keeps {KEEP_PERCENT:g} % is "
    else:
        chosen = max(pruned, key=lambda row: row.test_accuracy_percent)
        text = f"no pruned setting keeps {KEEP_PERCENT:g} %; the most accurate is "
    text += _described(chosen)
    if base:
        size = times(base.model_bytes, chosen.model_bytes, "smaller", "larger")
        speed = times(base.latency_ms, chosen.latency_ms, "faster", "slower")
        text += f"; against the unpruned base {size}, {speed}, {_gain(base, chosen):+.2f} points"
    return Finding("Size and accuracy", text + ".")


def arithmetic(rows: Sequence[Row]) -> Finding | None:
    """Whether latency falls in proportion to the multiply-accumulates."""
    if not rows:
        return None
    most, fewest = max(rows, key=lambda row: row.macs), min(rows, key=lambda row: row.macs)
    if most.macs == fewest.macs or not fewest.macs:
        return None
    slow, fast = (median(row.latency_ms for row in rows if row.macs == end.macs) for end in (most, fewest))
    work, time = most.macs / fewest.macs, slow / fast
    text = f"from {_structure(most)} to {_structure(fewest)} MACs fall {significant(work)} x, "
    text += f"latency {significant(time)} x"
    if time * ALIKE < work:
        text += f": a MAC takes {significant(work / time)} x as long in the small network; "
        text += "pruning removes channels, but no layer and not its overhead"
    else:
        text += ": in proportion" if time < work * ALIKE else ": more than in proportion"
    return Finding("Latency and MACs", text + ".")


def power(rows: Sequence[Row]) -> Finding | None:
    """Power against performance: whether energy falls as latency does, from the slowest setting to the fastest."""
    known = [row for row in rows if row.energy_mj]
    if len({row.latency_ms for row in known}) < 2 or len({row.estimated for row in known}) > 1:
        return None  # measured and estimated energies are never compared
    slow, fast = max(known, key=lambda row: row.latency_ms), min(known, key=lambda row: row.latency_ms)
    assert slow.energy_mj and fast.energy_mj
    time, energy = slow.latency_ms / fast.latency_ms, slow.energy_mj / fast.energy_mj
    text = f"from the slowest setting to the fastest latency falls {significant(time)} x and energy per image "
    text += f"{significant(energy)} x"
    if slow.estimated:
        text += "; with an assumed, constant power (est.) energy is proportional to time by construction and says "
        text += "nothing that latency does not: only a meter can tell them apart."
        return Finding("Power and performance", text)
    drawn = [row.max_power_w for row in rows if row.max_power_w is not None]
    alike = max(time / energy, energy / time) < ALIKE
    text += ": in step" if alike else ": less than latency" if energy < time else ": more than latency"
    if drawn:
        text += f"; maximum power lies between {significant(min(drawn))} and {significant(max(drawn))} W"
    return Finding("Power and performance", text + ".")


def memory(rows: Sequence[Row]) -> Finding | None:
    """How little of the peak memory is the model."""
    if len({row.model_bytes for row in rows}) < 2:
        return None
    low, high = min(row.peak_memory_mb for row in rows), max(row.peak_memory_mb for row in rows)
    small, large = min(rows, key=lambda row: row.model_bytes), max(rows, key=lambda row: row.model_bytes)
    apart, shrinks = 100 * (high / low - 1), large.model_bytes / small.model_bytes
    text = f"the peak stays between {significant(low)} and {significant(high)} MB ({significant(apart)} % apart) while "
    text += f"the model file shrinks {significant(shrinks)} x; the smallest model is "
    share = significant(100 * small.model_bytes / 1e6 / small.peak_memory_mb)
    return Finding("Memory", text + f"{share} % of its peak, the rest Python and the runtime with its buffers.")


def quantized_size(pairs: Sequence[Pair]) -> Finding | None:
    """How many times smaller the dynamic models are."""
    if not pairs:
        return None
    ratios = [before.model_bytes / after.model_bytes for before, after in pairs]
    text = f"dynamic quantization makes the file {significant(median(ratios))} x smaller{_range(ratios)}"
    larger = sum(ratio < 1 for ratio in ratios)
    return Finding("Size", text + f", larger in {larger}" * (larger > 0) + ".")


def quantized_latency(pairs: Sequence[Pair]) -> Finding | None:
    """Whether dynamic models are faster or slower than the float ones of the same settings, and how often."""
    if not pairs:
        return None
    ratios = [after.latency_ms / before.latency_ms for before, after in pairs]
    slower = sum(ratio > 1 for ratio in ratios)
    text = f"dynamic takes {significant(median(ratios))} x the time of float32{_range(ratios)}, "
    return Finding("Latency", text + f"longer in {slower} of {pluralize(len(pairs), 'setting')}.")


def quantized_accuracy(pairs: Sequence[Pair]) -> Finding | None:
    """What the 8-bit weights cost in points: median, largest loss and where."""
    if not pairs:
        return None
    changes = [_gain(before, after) for before, after in pairs]
    worst = min(range(len(pairs)), key=changes.__getitem__)
    text = f"the 8-bit weights change it by {median(changes):+.2f} points in the median; "
    if changes[worst] < 0:
        return Finding("Accuracy", text + f"the largest loss is {-changes[worst]:.2f} at {named(pairs[worst][1])}.")
    return Finding("Accuracy", text + f"no setting loses any, the least gain is {changes[worst]:+.2f}.")


def keeping(rows: Sequence[Row]) -> Finding | None:
    """Which settings keep 70 %, by fraction."""
    if not rows:
        return None
    kept: dict[float, list[int]] = {}
    for row in sorted(rows, key=lambda row: (row.fraction, row.epochs)):
        if row.test_accuracy_percent >= KEEP_PERCENT:
            kept.setdefault(row.fraction, []).append(row.epochs)
    places = [f"{fraction:g} ({', '.join(map(str, epochs))})" for fraction, epochs in kept.items()]
    text = f"{sum(map(len, kept.values()))} of {pluralize(len(rows), 'setting')} keep {KEEP_PERCENT:g} %"
    return Finding("Accurate enough", text + ": fraction (epochs) " * bool(kept) + ", ".join(places) + ".")


def recommendation(pairs: Sequence[Pair]) -> Finding | None:
    """Which format to take: the fastest and the smallest that keep 70 %, of float and dynamic together."""
    kept = [row for pair in pairs for row in pair if row.test_accuracy_percent >= KEEP_PERCENT]
    if not kept:
        return None
    fastest = _least(kept, lambda row: row.latency_ms)
    smallest = _least(kept, lambda row: row.model_bytes)
    if fastest == smallest:
        return Finding("Recommendation", f"{_in_format(fastest)} is both the fastest and the smallest.")
    text = f"for latency {_in_format(fastest)}; for size {_in_format(smallest)}."
    return Finding("Recommendation", text)


def measured(rows: Sequence[Row]) -> Finding | None:
    """The figures of the first few settings, for a grid too small to say anything else."""
    return Finding("Measured", "; ".join(map(_described, rows[:3])) + ".") if rows else None


def table1_findings(rows: Sequence[Row]) -> Findings:
    """All that Table 1 says."""
    results = (arithmetic(rows), memory(rows), power(rows))
    conclusion = (without_tuning(rows), tuning(rows), trade_off(rows))
    return Findings(_said(results), _said(conclusion) or _said([measured(rows)]))


def table2_findings(rows: Sequence[Row], float_rows: Sequence[Row]) -> Findings:
    """All that Table 2 says, against the float rows of the same settings."""
    pairs = matched(rows, float_rows)
    results = (quantized_size(pairs), quantized_latency(pairs), quantized_accuracy(pairs))
    conclusion = (keeping(rows), recommendation(pairs) or trade_off(rows), power(rows), memory(rows))
    return Findings(_said(results), _said(conclusion))


def matched(rows: Sequence[Row], float_rows: Sequence[Row]) -> list[Pair]:
    """Each quantized row beside the float row of the same fraction and epochs, where there is one."""
    floats = {(row.fraction, row.epochs): row for row in float_rows}
    return [(floats[row.fraction, row.epochs], row) for row in rows if (row.fraction, row.epochs) in floats]


def _said(findings: Iterable[Finding | None]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding)


def _base(rows: Sequence[Row]) -> Row | None:
    return min((row for row in rows if not row.fraction), key=lambda row: row.epochs, default=None)


def _structure(row: Row) -> str:
    return f"fraction {row.fraction:g}" if row.fraction else "the unpruned base"


def _gain(before: Row, after: Row) -> float:
    return after.test_accuracy_percent - before.test_accuracy_percent


def _gains(rows: Sequence[Row], few: int, many: int) -> dict[float, float]:
    """By pruned fraction, the points that `many` epochs bring over `few`."""
    at = {(row.fraction, row.epochs): row for row in rows if row.fraction}
    pairs = {fraction: (at.get((fraction, few)), at.get((fraction, many))) for fraction, _ in at}
    return {fraction: _gain(before, after) for fraction, (before, after) in pairs.items() if before and after}


def _least(rows: Iterable[Row], cost: Callable[[Row], float]) -> Row:
    """The most accurate of those that cost about the least, as the competition decides between close ones."""
    rows = list(rows)
    return max(
        (row for row in rows if cost(row) <= CLOSE * min(map(cost, rows))), key=lambda row: row.test_accuracy_percent
    )


def _described(row: Row) -> str:
    kilobytes = f"{significant(row.model_bytes / 1000)} kB"
    return f"{named(row)}, {percent(row.test_accuracy_percent)} %, {significant(row.latency_ms)} ms, {kilobytes}"


def _in_format(row: Row) -> str:
    return f"{row.quantization} at {_described(row)}"


def _range(ratios: Sequence[float]) -> str:
    if len(ratios) == 1:
        return ""
    low, high = significant(min(ratios)), significant(max(ratios))
    return f" in the median of {pluralize(len(ratios), 'setting')} ({low} to {high} x)"
