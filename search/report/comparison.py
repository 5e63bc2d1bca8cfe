"""The best candidate beside the unpruned base: figures, ratios in words and the verdict."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from search.report.formatting import NONE, marked, percent, significant, times
from search.report.results import Figures, StudyResults

ESTIMATED = ", est."
ESTIMATED_MEANS = "est.: from an assumed power, not measured."
ROADS = {"latency": "latency [ms]", "energy": "energy per image [mJ]", "fom": "FoM [% / (ms x mJ)]"}


def published_fom(figures: Figures) -> float | None:
    """The FoM as published entries give it: accuracy as a fraction / (s x J), which is ours x 10,000."""
    return None if figures.fom is None else figures.fom * 10_000


class Metric(NamedTuple):
    """A line of the closing table; `name` is its key in DEFINITIONS, `power`: it rests on the meter."""

    name: str
    label: str
    get: Callable[[Figures], float | None]
    better: str
    worse: str
    power: bool = False
    higher_is_better: bool = False
    show: Callable[[float], str] = significant


METRICS = (
    Metric("latency_ms", "latency, median [ms]", lambda f: f.latency_ms, "faster", "slower"),
    Metric("p90_ms", "latency, 90th percentile [ms]", lambda f: f.p90_ms, "faster", "slower"),
    Metric("spread", "spread of the windows [%]", lambda f: f.spread * 100, "less", "more"),
    Metric("energy_mj", "energy per image [mJ]", lambda f: f.energy_mj, "less", "more", power=True),
    Metric("power_w", "power [W]", lambda f: f.power_w, "less", "more", power=True),
    Metric("peak_memory_mb", "peak memory [MB]", lambda f: f.peak_memory_mb, "less", "more"),
    Metric("memory_growth_mb", "memory growth [MB]", lambda f: f.memory_growth_mb, "less", "more"),
    Metric("model_bytes", "model [bytes]", lambda f: f.model_bytes, "smaller", "larger", show="{:,}".format),
    Metric("parameters", "parameters", lambda f: f.parameters, "fewer", "more", show="{:,}".format),
    Metric("macs", "MACs", lambda f: f.macs, "fewer", "more", show="{:,}".format),
    Metric("fom", ROADS["fom"], lambda f: f.fom, "higher", "lower", True, True),
    Metric("fom_published", "published FoM [1/(s x J)]", published_fom, "higher", "lower", True, True),
)


class Row(NamedTuple):
    """One line of the closing table, ready to print."""

    label: str
    best: str
    base: str
    ratio: str


def comparison_columns(results: StudyResults) -> tuple[str, ...]:
    """The headings of `comparison_rows`."""
    trial = "" if results.best_trial is None else f" (trial {results.best_trial})"
    return ("", f"best{trial}", "unpruned base", "best against base")


def comparison_rows(results: StudyResults) -> list[Row]:
    """The best candidate beside the unpruned base; `ratio` says in words how many times better it is."""
    best, base = results.best, results.base
    accuracies = [f"{percent(model.accuracy_percent)} {model.accuracy_of}" if model else NONE for model in (best, base)]
    plans = [model.plan if model else NONE for model in (best, base)]
    change, kinds = NONE, " / ".join({model.accuracy_of: None for model in (best, base) if model})
    if best and base and best.accuracy_of == base.accuracy_of:
        change = f"{best.accuracy_percent - base.accuracy_percent:+.2f} points"
    accuracy = Row(f"{kinds} accuracy [%]".lstrip(), accuracies[0], accuracies[1], change)
    return [
        accuracy,
        *(_metric_row(metric, best, base) for metric in METRICS),
        Row("measuring plan", plans[0], plans[1], ""),
    ]


def _metric_row(metric: Metric, best: Figures | None, base: Figures | None) -> Row:
    values = [metric.get(model) if model else None for model in (best, base)]
    guessed = [bool(model and metric.power and model.estimated) for model in (best, base)]
    mixed = None not in values and guessed[0] != guessed[1]
    shown = [
        NONE if value is None else marked(metric.show(value), mixed and guess)
        for value, guess in zip(values, guessed, strict=True)
    ]
    small, large = reversed(values) if metric.higher_is_better else values
    # Measured and estimated are never mixed.
    ratio = "not comparable" if mixed else times(large, small, metric.better, metric.worse)
    return Row(metric.label + ESTIMATED * (any(guessed) and not mixed), shown[0], shown[1], ratio)


def footnote(rows: Sequence[Row]) -> list[str]:
    """What stands under `comparison_rows`: one line where something in them is estimated, or none."""
    return [ESTIMATED_MEANS] if any(row.label.endswith(ESTIMATED) for row in rows) else []


def verdict(results: StudyResults) -> str:
    """The outcome in one sentence; a rule not met, or separate runs of base and best, are said aloud."""
    best, base = results.best, results.base
    if best is None:
        done = sum(trial.state == "COMPLETE" for trial in results.trials)
        return f"No candidate has met the rule yet; {done} of {len(results.trials)} trials are complete."
    name, what = {
        "latency": ("latency_ms", ""),
        "energy": ("energy_mj", " energy per image"),
        "fom": ("fom", " FoM"),
    }[results.road]
    metric = next(metric for metric in METRICS if metric.name == name)
    row = _metric_row(metric, best, base)
    if base is None or row.ratio in (NONE, "not comparable"):
        sentence = f"{row.label}: {row.best}, not compared with the unpruned base,"
    else:
        than = "as" if row.ratio == "the same" else "than"
        estimated = " (estimated)" if row.label.endswith(ESTIMATED) else ""
        sentence = f"{row.ratio}{what}{estimated} {than} the unpruned base"
    sentence += f" at {percent(best.accuracy_percent)} % {best.accuracy_of} accuracy"
    if best.accuracy_percent < results.rule_percent:
        sentence += f", below the rule of {significant(results.rule_percent)} %"
    return sentence + (" (measured in separate runs)." if base and not results.compared else ".")
