"""Compute sentences about Tables 1 and 2 from their rows. What the rows do not show is left out."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from search.report.formatting import percent, pluralize, significant, times
from search.submission.tables.quantization_insights import (
    accurate_enough,
    matched,
    quantized_accuracy,
    quantized_latency,
    quantized_size,
    recommendation,
)
from search.submission.tables.rows import Row
from search.submission.tables.settings import (
    KEEP_PERCENT,
    MAX_EQUAL_RATIO,
    Insight,
    described,
    gain,
    keeping,
    least,
    network,
    unpruned_base,
)


class Insights(NamedTuple):
    """The sentences about a table, by the slide that shows them: beside the charts, or at the end."""

    results: tuple[Insight, ...]
    conclusion: tuple[Insight, ...]


def table1_insights(rows: Sequence[Row]) -> Insights:
    """Return all that Table 1 shows."""
    results = _known(arithmetic(rows), memory(rows), power(rows))
    conclusion = _known(without_tuning(rows), tuning(rows), trade_off(rows))
    return Insights(results, conclusion or _known(measured(rows)))


def table2_insights(rows: Sequence[Row], float_rows: Sequence[Row]) -> Insights:
    """Return all that Table 2 shows, compared with the float rows of the same settings."""
    pairs = matched(rows, float_rows)
    results = _known(quantized_size(pairs), quantized_latency(pairs), quantized_accuracy(pairs))
    advice = recommendation(pairs) or trade_off(rows)
    return Insights(results, _known(accurate_enough(rows), advice, power(rows), memory(rows)))


def _known(*insights: Insight | None) -> tuple[Insight, ...]:
    return tuple(insight for insight in insights if insight is not None)


def without_tuning(rows: Sequence[Row]) -> Insight | None:
    """Say where accuracy breaks down without fine-tuning: between which two ratios it falls most."""
    by_fraction = {row.fraction: row for row in rows if row.epochs == 0}
    untuned = [by_fraction[fraction] for fraction in sorted(by_fraction)]
    if len(untuned) < 2:
        return None
    first, last = untuned[0], untuned[-1]
    text = f"accuracy goes from {percent(first.test_accuracy_percent)} % ({network(first)}) to "
    text += f"{percent(last.test_accuracy_percent)} % ({network(last)})"
    steps = zip(untuned, untuned[1:], strict=False)
    before, after = min(steps, key=lambda step: gain(*step))
    if len(untuned) > 2 and gain(before, after) < 0:
        fall = percent(-gain(before, after))
        text += f"; the steepest fall, {fall} points, lies between fractions {before.fraction:g} and {after.fraction:g}"
    kept = [f"{row.fraction:g}" for row in keeping(untuned)]
    if kept:
        text += f"; {KEEP_PERCENT:g} % is kept at fraction {', '.join(kept)}"
    else:
        text += f"; none keeps {KEEP_PERCENT:g} %"
    return Insight("Without fine-tuning", f"{text}.")


def tuning(rows: Sequence[Row]) -> Insight | None:
    """Say how many points the most epochs bring over none, where most and least, and what the last ones add."""
    epochs = sorted({row.epochs for row in rows if row.fraction})
    if len(epochs) < 2 or epochs[0] != 0:
        return None
    gains = _gains(rows, 0, epochs[-1])
    if not gains:
        return None
    most, fewest = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
    text = f"{pluralize(epochs[-1], 'epoch')} bring {gains[most]:+.2f} points at fraction {most:g}"
    if most != fewest:
        text += f", the most, and {gains[fewest]:+.2f} at {fewest:g}, the least"
    text += "."
    last_gains = _gains(rows, epochs[-2], epochs[-1]) if len(epochs) > 2 else {}
    if last_gains:
        most = max(last_gains, key=last_gains.__getitem__)
        text += f" From {epochs[-2]} to {pluralize(epochs[-1], 'epoch')} "
        text += f"the median gain is {median(last_gains.values()):+.2f}, "
        text += f"the largest {last_gains[most]:+.2f} points (fraction {most:g})."
    return Insight("Fine-tuning", text)


def _gains(rows: Sequence[Row], few: int, many: int) -> dict[float, float]:
    """Return by pruning ratio the points that `many` epochs bring over `few`."""
    pruned = [row for row in rows if row.fraction]
    before = {row.fraction: row for row in pruned if row.epochs == few}
    after = {row.fraction: row for row in pruned if row.epochs == many}
    return {fraction: gain(before[fraction], row) for fraction, row in after.items() if fraction in before}


def trade_off(rows: Sequence[Row]) -> Insight | None:
    """Compare size and accuracy: the smallest setting that keeps 70 %, or the most accurate one, with the base."""
    pruned = [row for row in rows if row.fraction]
    if not pruned:
        return None
    kept = keeping(pruned)
    if kept:
        chosen = least(kept, lambda row: row.model_bytes)
        text = f"the smallest that keeps {KEEP_PERCENT:g} % is {described(chosen)}"
    else:
        chosen = max(pruned, key=lambda row: row.test_accuracy_percent)
        text = f"no pruned setting keeps {KEEP_PERCENT:g} %; the most accurate is {described(chosen)}"
    base = unpruned_base(rows)
    if base:
        size = times(base.model_bytes, chosen.model_bytes, "smaller", "larger")
        speed = times(base.latency_ms, chosen.latency_ms, "faster", "slower")
        text += f"; against the unpruned base {size}, {speed}, {gain(base, chosen):+.2f} points"
    return Insight("Size and accuracy", f"{text}.")


def arithmetic(rows: Sequence[Row]) -> Insight | None:
    """Say whether latency falls in proportion to the multiply-accumulates."""
    if not rows:
        return None
    most = max(rows, key=lambda row: row.macs)
    fewest = min(rows, key=lambda row: row.macs)
    if most.macs == fewest.macs or not fewest.macs:
        return None
    slow_ms = median(row.latency_ms for row in rows if row.macs == most.macs)
    fast_ms = median(row.latency_ms for row in rows if row.macs == fewest.macs)
    work, time = most.macs / fewest.macs, slow_ms / fast_ms
    text = f"from {network(most)} to {network(fewest)} MACs fall {significant(work)} x, "
    text += f"latency {significant(time)} x"
    if time * MAX_EQUAL_RATIO < work:
        text += f": a MAC takes {significant(work / time)} x as long in the small network; "
        text += "pruning removes channels, but no layer and not its overhead"
    elif time < work * MAX_EQUAL_RATIO:
        text += ": in proportion"
    else:
        text += ": more than in proportion"
    return Insight("Latency and MACs", f"{text}.")


def power(rows: Sequence[Row]) -> Insight | None:
    """Compare power and performance: whether energy falls as latency does, from the slowest setting to the fastest."""
    known = [row for row in rows if row.energy_mj]
    if len({row.latency_ms for row in known}) < 2 or len({row.estimated for row in known}) > 1:
        return None  # measured and estimated energies are never compared
    slow = max(known, key=lambda row: row.latency_ms)
    fast = min(known, key=lambda row: row.latency_ms)
    assert slow.energy_mj and fast.energy_mj
    time, energy = slow.latency_ms / fast.latency_ms, slow.energy_mj / fast.energy_mj
    text = f"from the slowest setting to the fastest latency falls {significant(time)} x and energy per image "
    text += f"{significant(energy)} x"
    if slow.estimated:
        text += "; with an assumed, constant power (est.) energy is proportional to time by construction and says "
        text += "nothing that latency does not: only a meter can tell them apart."
        return Insight("Power and performance", text)
    if max(time / energy, energy / time) < MAX_EQUAL_RATIO:
        text += ": in step"
    elif energy < time:
        text += ": less than latency"
    else:
        text += ": more than latency"
    drawn = [row.max_power_w for row in rows if row.max_power_w is not None]
    if drawn:
        text += f"; maximum power lies between {significant(min(drawn))} and {significant(max(drawn))} W"
    return Insight("Power and performance", f"{text}.")


def memory(rows: Sequence[Row]) -> Insight | None:
    """Say how little of the peak memory is the model."""
    if len({row.model_bytes for row in rows}) < 2:
        return None
    low = min(row.peak_memory_mb for row in rows)
    high = max(row.peak_memory_mb for row in rows)
    small = min(rows, key=lambda row: row.model_bytes)
    large = max(rows, key=lambda row: row.model_bytes)
    apart = significant(100 * (high / low - 1))
    shrinks = significant(large.model_bytes / small.model_bytes)
    share = significant(100 * small.model_bytes / 1e6 / small.peak_memory_mb)
    text = f"the peak stays between {significant(low)} and {significant(high)} MB ({apart} % apart) while "
    text += f"the model file shrinks {shrinks} x; the smallest model is {share} % of its peak, "
    text += "the rest Python and the runtime with its buffers."
    return Insight("Memory", text)


def measured(rows: Iterable[Row]) -> Insight | None:
    """List the figures of the first few settings, for a grid that is too small for anything else."""
    first = list(rows)[:3]
    if not first:
        return None
    return Insight("Measured", f"{'; '.join(map(described, first))}.")
