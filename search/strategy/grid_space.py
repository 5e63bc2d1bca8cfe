"""The rows of a grid: Optuna's parameters to a specification and back."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import optuna

from compress.quantization import Quantization
from compress.spec import PRUNED_LAYERS, CompressionSpec
from search.config import StudyConfig
from search.config_sections import Grid
from search.storage.trial_record import TrialRecord


class GridRow(NamedTuple):
    """One setting of a grid: the same pruning ratio of every layer, and all its epochs."""

    pruning_ratio: float
    epochs: int
    quantization: Quantization

    @property
    def params(self) -> dict[str, Any]:
        """Return Optuna's parameters of the row. Stored studies have their names."""
        return {"fraction": self.pruning_ratio, "epochs": self.epochs, "quantization": str(self.quantization)}


def grid_rows(grid: Grid) -> list[GridRow]:
    """Return every row of a grid, each ratio's epochs rising; a ratio of 0 has one row."""
    rows = []
    for quantization in dict.fromkeys(grid.quantization):
        for ratio in sorted({ratio + 0.0 for ratio in grid.pruning_ratio}):
            for epochs in sorted(set(grid.epochs)) if ratio else [0]:
                rows.append(GridRow(ratio, epochs, quantization))
    return rows


def suggest_row(trial: optuna.Trial, config: StudyConfig, grid: Grid) -> CompressionSpec:
    """Return the spec of the grid's row that this trial tries."""
    # Ranges and all schemes, not the grid's own values: Optuna lets no trial add a choice to those of another.
    ratio = trial.suggest_float("fraction", 0.0, 1.0)
    epochs = trial.suggest_int("epochs", 0, 10_000)
    quantization = trial.suggest_categorical("quantization", [scheme.value for scheme in Quantization])
    return row_spec(config, grid, GridRow(ratio, epochs, Quantization(quantization)))


def row_of(record: TrialRecord) -> GridRow:
    """Return the row of a complete trial of a grid."""
    params = record.params
    return GridRow(params["fraction"], params["epochs"], Quantization(params["quantization"]))


def is_current(record: TrialRecord, config: StudyConfig, grid: Grid) -> bool:
    """Return True where a complete trial is what the grid asks for now.

    Another list of epochs trains a row in other legs.
    """
    return record.spec == row_spec(config, grid, row_of(record))


def row_spec(config: StudyConfig, grid: Grid, row: GridRow) -> CompressionSpec:
    """Return the spec of a row: its training continues that of the rows with fewer epochs."""
    plain = CompressionSpec(
        pruning_ratios=(row.pruning_ratio,) * PRUNED_LAYERS,
        learning_rate=config.training.learning_rate,
        distill_weight=grid.distill_weight,
    )
    spec = _trained_in_legs(plain, row.epochs, grid.epochs)
    io_dtype = row.quantization.io_dtype(config.space.io_dtype)
    return replace(spec, quantization=row.quantization, io_dtype=io_dtype)


def _trained_in_legs(spec: CompressionSpec, epochs: int, others: Sequence[int]) -> CompressionSpec:
    """Return `spec` after this many epochs, the last of which continue from the next fewer ones among the others.

    A leg begins at the rate to which one cosine over all epochs would have come down by then: at the full rate, what
    was learnt is lost.
    """
    fewer = max((other for other in others if other < epochs), default=0)
    if not fewer:
        return replace(spec, epochs=epochs)
    rate = spec.learning_rate * (1 + math.cos(math.pi * fewer / epochs)) / 2
    parent = _trained_in_legs(spec, fewer, others)
    return replace(spec, epochs=epochs - fewer, learning_rate=rate, parent=parent)
