"""The tables of a study: the same rows for the terminal and for the pages."""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from compress.architecture import Architecture
from search.report.base_comparison import comparison_columns, comparison_rows, footnotes, verdict
from search.report.early_stopping_savings import early_stopping_savings
from search.report.formatting import NONE, mark_estimated, percent, significant
from search.report.results import StudyResults, TrialResult
from search.report.sentences import (
    STATES,
    constraint_text,
    objective_title,
    savings_text,
    trial_counts,
)

SAVING_COLUMNS = (
    "stage",
    "pruned there",
    "spent on it [s]",
    "device time saved [s]",
    "training saved [s]",
)
SAVING_MEANS = (
    "Estimated as if each pruned trial (MAC bound: pruned for its number of MACs) had otherwise "
    "taken as long as the median complete trial. This is rather too much, since some would have "
    "been pruned later."
)
LAYER_COLUMNS = ("layer", "channels", "removed", "stride")


class Layer(NamedTuple):
    """The stem or a block, before and after compression; None where the block is dropped."""

    name: str
    before: int
    after: int | None
    stride_before: int
    stride_after: int | None


def saving_rows(results: StudyResults) -> list[tuple[str, ...]]:
    """Return cost and savings of each stage under SAVING_COLUMNS; empty without pruned trials."""
    stages = early_stopping_savings(results.trials)
    if not any(stage.ended for stage in stages):
        return []
    rows = []
    for stage in stages:
        seconds = (stage.spent_s, stage.device_saved_s, stage.training_saved_s)
        rows.append((str(stage.stage), str(stage.ended), *map(significant, seconds)))
    return rows


def trial_columns(results: StudyResults) -> tuple[str, ...]:
    """Return the headings of `trial_cells`."""
    objective = f"objective: {objective_title(results)}"
    return ("trial", "state", "accuracy [%]", "latency [ms]", objective, "reason")


def trial_cells(results: StudyResults, trial: TrialResult) -> tuple[str, ...]:
    """Return one trial as text under `trial_columns`."""
    accuracy = NONE
    latency = NONE
    if trial.figures is not None:
        accuracy = f"{percent(trial.figures.accuracy_percent)} {trial.figures.accuracy_of}"
        latency = significant(trial.figures.latency_ms)
    state = _state_text(results, trial)
    return str(trial.number), state, accuracy, latency, value_text(results, trial), trial.reason


def value_text(results: StudyResults, trial: TrialResult) -> str:
    """Return a trial's value of the objective, marked where it comes from an assumed power."""
    is_estimated = (
        results.objective.needs_power and trial.figures is not None and trial.figures.estimated
    )
    return mark_estimated(significant(trial.value), is_estimated)


def _state_text(results: StudyResults, trial: TrialResult) -> str:
    state = STATES[trial.state]
    if trial.is_complete and trial.number == results.best_trial:
        return f"{state}, best"
    if trial.is_complete and not trial.feasible:
        return f"{state}, infeasible"
    return state


def best_layers(results: StudyResults) -> list[Layer]:
    """Return the best candidate layer by layer against the base; empty while there is none."""
    if results.best_result is None:
        return []
    return layers_of(results.best_result, results.base_architecture)


def layers_of(trial: TrialResult, base: Architecture) -> list[Layer]:
    """Return a trial's network layer by layer against the base; empty where it has none."""
    if trial.spec is None or trial.architecture is None:
        return []
    stem = trial.architecture
    blocks = dict(zip(trial.spec.kept_blocks, trial.architecture.blocks, strict=True))
    rows = [Layer("stem", base.stem_width, stem.stem_width, base.stem_stride, stem.stem_stride)]
    for number, before in enumerate(base.blocks):
        width, stride = None, None
        if number in blocks:
            width, stride = blocks[number].width, blocks[number].stride
        rows.append(Layer(f"block {number}", before.width, width, before.stride, stride))
    return rows


def layer_cells(layer: Layer) -> tuple[str, ...]:
    """Return a layer as text: name, channels, share of them removed, stride."""
    after = "dropped"
    if layer.after is not None:
        after = str(layer.after)
    removed = f"{100 - 100 * (layer.after or 0) / layer.before:.0f} %"
    stride = f"{layer.stride_before} → {layer.stride_after or NONE}"
    return layer.name, f"{layer.before} → {after}", removed, stride


def comparison_table(results: StudyResults) -> Table:
    """Return the final comparison: the best candidate beside the unpruned base."""
    rows = comparison_rows(results)
    constraint = f"accuracy constraint: {constraint_text(results)}"
    caption = "\n".join([verdict(results), *footnotes(rows), constraint])
    return plain_table(results.name, comparison_columns(results), rows, caption, right=(1, 2))


def trials_table(results: StudyResults, last: int | None = None) -> Table:
    """Return the table of all trials or of the `last` ones; counts, best and savings below."""
    trials = results.trials
    if last is not None:
        trials = trials[-last:]
    rows = [trial_cells(results, trial) for trial in trials]
    lines = [
        f"{trial_counts(results)}; {_best_so_far(results)}",
        f"accuracy constraint: {constraint_text(results)}",
    ]
    savings = savings_text(results)
    if savings:
        lines.append(savings)
    columns = trial_columns(results)
    return plain_table(results.name, columns, rows, "\n".join(lines), right=(0, 2, 3, 4))


def _best_so_far(results: StudyResults) -> str:
    best = results.best_result
    if best is None:
        return "no candidate meets the accuracy constraint yet"
    value = value_text(results, best)
    return f"best so far: trial {best.number}, {results.objective.label}: {value}"


def layers_table(results: StudyResults) -> Table:
    """Return the best candidate layer by layer, channels and strides before and after."""
    rows = map(layer_cells, best_layers(results))
    title = f"{results.name}: layers of the best candidate"
    return plain_table(title, LAYER_COLUMNS, list(rows), "", right=(1, 2, 3))


def plain_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    right: Collection[int],
    unbroken: Collection[int] = (),
) -> Table:
    """Return a table for the terminal.

    Args:
        title: The line above it.
        columns: The headings.
        rows: The cells.
        caption: The lines below it.
        right: The columns that are aligned to the right.
        unbroken: The columns that are never wrapped.
    """
    # Text, not str: rich would swallow "[ms]", or a bracket in an error message, as markup.
    table = Table(
        title=Text(title),
        caption=Text(caption),
        caption_justify="left",
        box=SIMPLE_HEAD,
        collapse_padding=True,  # 80 columns are few
        pad_edge=False,
    )
    for number, column in enumerate(columns):
        side: Literal["left", "right"] = "left"
        if number in right:
            side = "right"
        table.add_column(Text(column), justify=side, overflow="fold", no_wrap=number in unbroken)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
