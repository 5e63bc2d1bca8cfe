"""Compare the best candidate with the unpruned base: figures, ratios in words and the verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from search.objective import Objective
from search.report.formatting import (
    NONE,
    mark_estimated,
    percent,
    share_in_percent,
    significant,
    thousands,
    times,
)
from search.report.results import Figures, StudyResults

ESTIMATED = ", est."
ESTIMATED_MEANS = "est.: from an assumed power, not measured."
NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Metric:
    """A line of the final comparison.

    `name` is the attribute of `Figures`, and the key in `DEFINITIONS` of `edge`. `better` and
    `worse` complete "1.20 x ...". `needs_power`: the value rests on the power meter.
    """

    name: str
    label: str
    better: str
    worse: str
    needs_power: bool = False
    higher_is_better: bool = False
    show: Callable[[float], str] = significant

    def value(self, figures: Figures | None) -> float | None:
        """Return the value of a model; None where it is unknown."""
        value: float | None = getattr(figures, self.name, None)
        return value

    def text(self, figures: Figures | None) -> str:
        """Return the value of a model for a table."""
        value = self.value(figures)
        if value is None:
            return NONE
        return self.show(value)

    def is_estimated(self, figures: Figures | None) -> bool:
        """Return True where the value of a model comes from an assumed power."""
        return figures is not None and self.needs_power and figures.estimated

    def ratio(self, best: Figures | None, base: Figures | None) -> str:
        """Return in words how many times better the best is."""
        best_value = self.value(best)
        base_value = self.value(base)
        if self.higher_is_better:
            return times(best_value, base_value, self.better, self.worse)
        return times(base_value, best_value, self.better, self.worse)


METRICS = (
    Metric("latency_ms", "latency, median [ms]", "faster", "slower"),
    Metric("p90_ms", "latency, 90th percentile [ms]", "faster", "slower"),
    Metric("spread", "spread of the windows [%]", "less", "more", show=share_in_percent),
    Metric("energy_mj", "energy per image [mJ]", "less", "more", needs_power=True),
    Metric("power_w", "power [W]", "less", "more", needs_power=True),
    Metric("peak_memory_mb", "peak memory [MB]", "less", "more"),
    Metric("memory_growth_mb", "memory growth [MB]", "less", "more"),
    Metric("model_bytes", "model [bytes]", "smaller", "larger", show=thousands),
    Metric("parameters", "parameters", "fewer", "more", show=thousands),
    Metric("macs", "MACs", "fewer", "more", show=thousands),
    Metric("fom", Objective.FOM.label, "higher", "lower", needs_power=True, higher_is_better=True),
    Metric(
        "fom_published",
        "published FoM [1/(s x J)]",
        "higher",
        "lower",
        needs_power=True,
        higher_is_better=True,
    ),
)
VERDICT_METRICS = {
    Objective.LATENCY: ("latency_ms", ""),
    Objective.ENERGY: ("energy_mj", " energy per image"),
    Objective.FOM: ("fom", " FoM"),
}
"""The metric that decides, and the noun after its ratio: "2.00 x less energy per image"."""


class Row(NamedTuple):
    """A line of the final comparison, ready to print."""

    label: str
    best: str
    base: str
    ratio: str


def comparison_columns(results: StudyResults) -> tuple[str, ...]:
    """Return the headings of `comparison_rows`."""
    best = "best"
    if results.best_trial is not None:
        best = f"best (trial {results.best_trial})"
    return ("", best, "unpruned base", "best against base")


def comparison_rows(results: StudyResults) -> list[Row]:
    """Return the figures of the best candidate beside those of the unpruned base."""
    best, base = results.best, results.base
    rows = [_accuracy_row(best, base)]
    for metric in METRICS:
        rows.append(_metric_row(metric, best, base))
    rows.append(Row("measurement protocol", _protocol(best), _protocol(base), ""))
    return rows


def figure_rows(figures: Figures) -> list[tuple[str, str]]:
    """Return label and value of each known figure of one model."""
    rows = []
    for metric in METRICS:
        if metric.value(figures) is not None:
            text = mark_estimated(metric.text(figures), metric.is_estimated(figures))
            rows.append((metric.label, text))
    return rows


def footnotes(rows: Sequence[Row]) -> list[str]:
    """Return the lines that explain the marks in `comparison_rows`."""
    if any(row.label.endswith(ESTIMATED) for row in rows):
        return [ESTIMATED_MEANS]
    return []


def verdict(results: StudyResults) -> str:
    """Return the outcome in one sentence, also if it misses the constraint or mixes runs."""
    best = results.best
    if best is None:
        done = f"{len(results.complete)} of {len(results.trials)} trials are complete."
        return f"No candidate meets the accuracy constraint yet; {done}"
    sentence = f"{_against_base(results.objective, best, results.base)} at {_accuracy(best)}"
    if best.accuracy_percent < results.constraint_percent:
        sentence += (
            f", below the accuracy constraint of {significant(results.constraint_percent)} %"
        )
    if results.base is not None and not results.compared:
        sentence += " (measured in separate runs)"
    return f"{sentence}."


def _against_base(objective: Objective, best: Figures, base: Figures | None) -> str:
    name, noun = VERDICT_METRICS[objective]
    metric = next(metric for metric in METRICS if metric.name == name)
    row = _metric_row(metric, best, base)
    if base is None or row.ratio in (NONE, NOT_COMPARABLE):
        return f"{row.label}: {row.best}, not compared with the unpruned base,"
    if row.label.endswith(ESTIMATED):
        noun = f"{noun} (estimated)"
    if row.ratio == "the same":
        return f"the same{noun} as the unpruned base"
    return f"{row.ratio}{noun} than the unpruned base"


def _accuracy(figures: Figures) -> str:
    return f"{percent(figures.accuracy_percent)} % {figures.accuracy_of} accuracy"


def _accuracy_row(best: Figures | None, base: Figures | None) -> Row:
    images: list[str] = []
    cells = []
    for figures in (best, base):
        if figures is None:
            cells.append(NONE)
            continue
        cells.append(f"{percent(figures.accuracy_percent)} {figures.accuracy_of}")
        if figures.accuracy_of not in images:
            images.append(figures.accuracy_of)
    change = NONE
    if best is not None and base is not None and len(images) == 1:
        change = f"{best.accuracy_percent - base.accuracy_percent:+.2f} points"
    label = f"{' / '.join(images)} accuracy [%]".lstrip()
    return Row(label, cells[0], cells[1], change)


def _metric_row(metric: Metric, best: Figures | None, base: Figures | None) -> Row:
    best_text = metric.text(best)
    base_text = metric.text(base)
    best_estimated = metric.is_estimated(best)
    base_estimated = metric.is_estimated(base)
    if best_estimated != base_estimated and NONE not in (best_text, base_text):
        best_text = mark_estimated(best_text, best_estimated)
        base_text = mark_estimated(base_text, base_estimated)
        return Row(metric.label, best_text, base_text, NOT_COMPARABLE)
    label = metric.label
    if best_estimated or base_estimated:
        label += ESTIMATED
    return Row(label, best_text, base_text, metric.ratio(best, base))


def _protocol(figures: Figures | None) -> str:
    if figures is None:
        return NONE
    return figures.plan
