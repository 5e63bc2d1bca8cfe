"""The figures of a study in words and rows: terminal and page both show these, so that they cannot differ."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from search.results import Figures, StudyResults, TrialResult

NONE = "–"
ESTIMATED = ", est."
ESTIMATED_MEANS = "est.: from an assumed power, not measured."
ROADS = {"latency": "latency [ms]", "energy": "energy per image [mJ]", "fom": "FoM [% / (ms x mJ)]"}
STATES = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}
LAYER_COLUMNS = ("layer", "channels", "removed", "stride")


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


class Layer(NamedTuple):
    """The stem or a block of the base, and what the candidate left of it; None where the block is dropped."""

    name: str
    before: int
    after: int | None
    stride_before: int
    stride_after: int | None


def comparison_columns(results: StudyResults) -> tuple[str, ...]:
    """The headings of `comparison_rows`."""
    trial = "" if results.best_trial is None else f" (trial {results.best_trial})"
    return ("", f"best{trial}", "unpruned base", "best against base")


def comparison_rows(results: StudyResults) -> list[Row]:
    """The best candidate beside the unpruned base; `ratio` says in words how many times better it is."""
    best, base = results.best, results.base
    accuracies = [
        f"{percent(model.accuracy_percent)} {model.accuracy_of}" if model else NONE for model in (best, base)
    ]
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


def counts(results: StudyResults) -> str:
    """The trials by state: "40 trials: 25 complete (18 accurate enough), 12 pruned, 3 failed"."""
    by_state = Counter(trial.state for trial in results.trials)
    words = [f"{by_state[state]} {word}" for state, word in STATES.items() if by_state[state]]
    if by_state["COMPLETE"]:
        feasible = sum(trial.feasible for trial in results.trials if trial.state == "COMPLETE")
        words[0] += f" ({feasible} accurate enough)"
    total = len(results.trials)
    return f"{total} trial{'s' * (total != 1)}{': ' * bool(words)}{', '.join(words)}"


def objective_title(results: StudyResults) -> str:
    """What a trial's value is, with its unit, and marked where it rests on estimated power."""
    figures = [results.base, results.best, *(trial.figures for trial in results.trials)]
    estimated = results.road != "latency" and any(model.estimated for model in figures if model)
    return ROADS[results.road] + ", estimated" * estimated


def trial_columns(results: StudyResults) -> tuple[str, ...]:
    """The headings of `trial_cells`."""
    objective = f"objective: {objective_title(results)}"
    return ("trial", "state", "accuracy [%]", "latency [ms]", objective, "reason")


def trial_cells(results: StudyResults, trial: TrialResult) -> tuple[str, ...]:
    """One trial as text: number, state, accuracy and on what, latency, value, reason."""
    state, figures = STATES.get(trial.state, trial.state.lower()), trial.figures
    if trial.state == "COMPLETE":
        state += ", best" if trial.number == results.best_trial else "" if trial.feasible else ", infeasible"
    accuracy = f"{percent(figures.accuracy_percent)} {figures.accuracy_of}" if figures else NONE
    latency = significant(figures.latency_ms) if figures else NONE
    estimated = results.road != "latency" and figures is not None and figures.estimated
    value = marked(significant(trial.value), estimated)
    return str(trial.number), state, accuracy, latency, value, trial.reason


def describe_model(trial: TrialResult) -> str:
    """A trial's model in one line: channels, what was dropped, number format, training."""
    if trial.spec is None or trial.architecture is None:
        return ""
    spec, widths = trial.spec, " ".join(map(str, trial.architecture.widths))
    dropped = f", without blocks {' '.join(map(str, spec.dropped_blocks))}" if spec.dropped_blocks else ""
    training = f"{spec.quantization}, {spec.epochs} epochs"
    return f"channels {widths}{dropped}, stem stride {spec.stem_stride}, {training}"


def describe_figures(figures: Figures) -> str:
    """Accuracy and speed in one line."""
    accuracy = f"{percent(figures.accuracy_percent)} % {figures.accuracy_of} accuracy"
    return f"{accuracy}, {significant(figures.latency_ms)} ms, plan {figures.plan}"


def best_trial(results: StudyResults) -> TrialResult | None:
    """The trial that led to the best candidate."""
    return next((trial for trial in results.trials if trial.number == results.best_trial), None)


def layers(results: StudyResults) -> list[Layer]:
    """The best candidate layer by layer against the base; empty while there is none."""
    trial, base = best_trial(results), results.base_architecture
    if trial is None or trial.spec is None or trial.architecture is None:
        return []
    found = trial.architecture
    kept = dict(zip(trial.spec.kept_blocks, found.blocks, strict=True))
    rows = [Layer("stem", base.stem_width, found.stem_width, base.stem_stride, found.stem_stride)]
    for number, block in enumerate(base.blocks):
        left = kept.get(number)
        width, stride = (left.width, left.stride) if left else (None, None)
        rows.append(Layer(f"block {number}", block.width, width, block.stride, stride))
    return rows


def layer_cells(layer: Layer) -> tuple[str, ...]:
    """A layer as text: name, channels before → after, share of them removed, stride before → after."""
    after = "dropped" if layer.after is None else layer.after
    removed = f"{100 - 100 * (layer.after or 0) / layer.before:.0f} %"
    stride = f"{layer.stride_before} → {layer.stride_after or NONE}"
    return layer.name, f"{layer.before} → {after}", removed, stride


def comparison_table(results: StudyResults) -> Table:
    """The closing table: the best candidate beside the unpruned base."""
    rows = comparison_rows(results)
    caption = "\n".join([verdict(results), *footnote(rows)])
    return _table(results.name, comparison_columns(results), rows, caption, (1, 2))


def trials_table(results: StudyResults, last: int | None = None) -> Table:
    """The trials, all or the `last` so many; counts by state and the best so far stand below."""
    cells = [trial_cells(results, trial) for trial in results.trials[-last if last else None :]]
    best, so_far = best_trial(results), "no candidate has met the rule yet"
    if best:
        so_far = f"best so far: trial {best.number}, {ROADS[results.road]}: {trial_cells(results, best)[4]}"
    caption = f"{counts(results)}; {so_far}"
    return _table(results.name, trial_columns(results), cells, caption, (0, 2, 3, 4))


def layers_table(results: StudyResults) -> Table:
    """The best candidate layer by layer: channels and stride before and after, dropped blocks marked."""
    rows = [layer_cells(layer) for layer in layers(results)]
    return _table(f"{results.name}: layers of the best candidate", LAYER_COLUMNS, rows, "", (1, 2, 3))


def figures_dict(results: StudyResults) -> dict[str, Any]:
    """All of `results` as JSON-ready data, and what follows: fom, fom_published, speedup, verdict, layers."""
    data = asdict(results)
    data |= {"speedup": results.speedup, "verdict": verdict(results)}
    data |= {"layers": [layer._asdict() for layer in layers(results)]}
    pairs = [(data["base"], results.base), (data["best"], results.best)]
    pairs += [
        (data["trials"][number]["figures"], trial.figures) for number, trial in enumerate(results.trials)
    ]
    for kept, figures in pairs:
        if figures:
            kept |= {"fom": figures.fom, "fom_published": published_fom(figures)}
    return json.loads(json.dumps(data, default=str))  # type: ignore[no-any-return]  # tuples become lists


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str, right: Sequence[int]
) -> Table:
    # Text, not str: rich would take "[ms]", or a bracket in an error message, for markup and swallow it.
    table = Table(title=Text(title), caption=Text(caption), caption_justify="left", box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
