"""The figures of a study in words and rows: terminal and page both show these, so that they cannot differ."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any, Literal, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from compress.architecture import Architecture
from search.report.comparison import ROADS, comparison_columns, comparison_rows, footnote, published_fom, verdict
from search.report.early_stopping_savings import savings
from search.report.formatting import NONE, lasting, marked, percent, pluralize, significant
from search.report.results import Figures, StudyResults, TrialResult
from search.strategy.early_stopping import holding_probability

STATES = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}
GIVEN_UP = {"free": "before any measurement", "structure": "after the structure", "train and convert": "in training"}
SAVING_COLUMNS = ("stage", "given up there", "spent on it [s]", "device time saved [s]", "training saved [s]")
SAVING_MEANS = (
    "Estimated as if each trial that was given up (free: for its MACs alone) had otherwise taken as long as the median "
    "complete trial; rather too much, since some would have been given up later."
)
LAYER_COLUMNS = ("layer", "channels", "removed", "stride")


class Layer(NamedTuple):
    """The stem or a block of the base, and what the candidate left of it; None where the block is dropped."""

    name: str
    before: int
    after: int | None
    stride_before: int
    stride_after: int | None


def counts(results: StudyResults) -> str:
    """The trials by state: "40 trials: 25 complete (18 accurate enough), 12 pruned, 3 failed"."""
    by_state = Counter(trial.state for trial in results.trials)
    words = [f"{by_state[state]} {word}" for state, word in STATES.items() if by_state[state]]
    if by_state["COMPLETE"]:
        feasible = sum(trial.feasible for trial in results.trials if trial.state == "COMPLETE")
        words[0] += f" ({feasible} accurate enough)"
    total = pluralize(len(results.trials), "trial")
    return f"{total}: {', '.join(words)}" if words else total


def rule(results: StudyResults) -> str:
    """What was asked for, with how much margin, how surely the best candidate holds it, and what counts as equal."""
    limit = f"{significant(results.rule_percent)} %"
    margin = results.required_percent - results.rule_percent
    line = f"at least {limit} test accuracy; asked for are {significant(results.required_percent)} % of the validation "
    line += f"images{' that the search has not used' * bool(results.decision_images)}, "
    line += f"a margin of {significant(margin)} points"
    best, counted = best_trial(results), (results.decision_images, results.test_images)
    if best and best.decision_percent is not None and all(counted):
        tried = max(1, results.tried_against_rule)
        chance = holding_probability(results.rule_percent, best.decision_percent, *counted, tried)
        likely = "more than 99.9 %" if chance > 0.999 else f"at least {100 * chance:.1f} %"
        networks = "the only network" if tried == 1 else f"one of {tried} networks"
        line += f"; trial {best.number} has {percent(best.decision_percent)} % there: the test accuracy keeps {limit} "
        line += f"with {likely} probability (binomial counts of {counted[0]:,} and {counted[1]:,} images; {networks} "
        line += "as good that was held against the rule)" if tried == 1 else "as good that were held against the rule)"
    if results.tie_tolerance > 0:
        line += f"; candidates within {100 * results.tie_tolerance:.1f} % of the best value count as equal; "
        line += "then the more accurate one is the best"
    return line


def saving_rows(results: StudyResults) -> list[tuple[str, ...]]:
    """What each stage cost, and saved by giving up there, under SAVING_COLUMNS; empty while nothing was given up."""
    stages = savings(results.trials)
    if not any(stage.ended for stage in stages):
        return []
    seconds = [(stage.spent_s, stage.device_saved_s, stage.training_saved_s) for stage in stages]
    return [(stage.stage, str(stage.ended), *map(significant, s)) for stage, s in zip(stages, seconds, strict=True)]


def saved(results: StudyResults) -> str:
    """The same in one line, empty while nothing was given up."""
    stages = [stage for stage in savings(results.trials) if stage.ended]
    if not stages:
        return ""
    line = "given up early: " + ", ".join(f"{stage.ended} {GIVEN_UP[stage.stage]}" for stage in stages)
    if stages[0].device_saved_s is None:
        return line
    device_s = sum(stage.device_saved_s or 0.0 for stage in stages)
    training_s = sum(stage.training_saved_s or 0.0 for stage in stages)
    return f"{line}; saved about {lasting(device_s)} of device time and {lasting(training_s)} of training"


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
    trial = best_trial(results)
    return layers_of(trial, results.base_architecture) if trial else []


def layers_of(trial: TrialResult, base: Architecture) -> list[Layer]:
    """A trial's network layer by layer against the base; empty where it has none."""
    if trial.spec is None or trial.architecture is None:
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
    caption = "\n".join([verdict(results), *footnote(rows), f"rule: {rule(results)}"])
    return plain_table(results.name, comparison_columns(results), rows, caption, (1, 2))


def trials_table(results: StudyResults, last: int | None = None) -> Table:
    """The trials, all or the `last` so many; counts, best so far, rule and savings stand below."""
    cells = [trial_cells(results, trial) for trial in results.trials[-last if last else None :]]
    best, so_far = best_trial(results), "no candidate has met the rule yet"
    if best:
        so_far = f"best so far: trial {best.number}, {ROADS[results.road]}: {trial_cells(results, best)[4]}"
    lines = (f"{counts(results)}; {so_far}", f"rule: {rule(results)}", saved(results))
    caption = "\n".join(filter(None, lines))
    return plain_table(results.name, trial_columns(results), cells, caption, (0, 2, 3, 4))


def layers_table(results: StudyResults) -> Table:
    """The best candidate layer by layer: channels and stride before and after, dropped blocks marked."""
    rows = [layer_cells(layer) for layer in layers(results)]
    return plain_table(f"{results.name}: layers of the best candidate", LAYER_COLUMNS, rows, "", (1, 2, 3))


def figures_dict(results: StudyResults) -> dict[str, Any]:
    """All of `results` as JSON-ready data, and what follows: fom, fom_published, speedup, verdict ..."""
    data = asdict(results)
    for kept, trial in zip(data["trials"], results.trials, strict=True):
        del kept["measurement_json"]  # a hundred times what the others need
        kept["spec"] = trial.spec.to_dict() if trial.spec else None
    data |= {"speedup": results.speedup, "verdict": verdict(results)}
    data |= {"rule": rule(results), "savings": [asdict(stage) for stage in savings(results.trials)]}
    data |= {"layers": [layer._asdict() for layer in layers(results)]}
    pairs = [(data["base"], results.base), (data["best"], results.best)]
    pairs += [(data["trials"][number]["figures"], trial.figures) for number, trial in enumerate(results.trials)]
    for kept, figures in pairs:
        if figures:
            kept |= {"fom": figures.fom, "fom_published": published_fom(figures)}
    return json.loads(json.dumps(data, default=str))  # type: ignore[no-any-return]  # tuples become lists


def plain_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    right: Collection[int],
    unbroken: Collection[int] = (),
) -> Table:
    """A table for the terminal; `right` columns stand to the right, `unbroken` ones on one line."""
    # Text, not str: rich would take "[ms]", or a bracket in an error message, for markup and swallow it.
    table = Table(
        title=Text(title), caption=Text(caption), caption_justify="left",
        box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False,  # 80 columns are few
    )  # fmt: skip
    for number, column in enumerate(columns):
        side: Literal["left", "right"] = "right" if number in right else "left"
        table.add_column(Text(column), justify=side, overflow="fold", no_wrap=number in unbroken)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
