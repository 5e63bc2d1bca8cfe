"""Tables 1 and 2 out of a grid study's storage: rows, what is missing of them, and the files they become."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from compress.errors import UsageError
from compress.io import atomic_write
from compress.quantization import Quantization
from compress.spec import PRUNED_LAYERS, CompressionSpec
from edge.measuring.measurement import Measurement
from search.config import StudyConfig, load_config, overlaid
from search.config_sections import Grid
from search.report.anonymize import anonymize_measurement
from search.report.formatting import pluralize
from search.storage.open_storage import load_study, study_exists
from search.storage.study_record import record_of
from search.storage.trial_record import TrialRecord, read_trials
from search.storage.urls import redact_url, storage_url
from search.strategy.grid_space import grid_rows, is_current, row_of
from search.submission.slides.deck import Deck, write_deck
from search.submission.tables.render import csv_text, markdown, notes
from search.submission.tables.rows import Key, Row

FILES = ("table.md", "table.csv", "results.json")
COMPARABLE = ("kind of device", "meter", "base", "data", "measure", "training", "seed", "grid")
"""What Table 1 must have in common with Table 2 for the two to be compared."""


@dataclass(frozen=True)
class GridTable:
    """A grid study, read once.

    rows: its complete rows, sorted by quantization, pruning ratio and epochs.
    measurements: the raw windows of each row.
    float_rows: the rows of Table 1 that Table 2 is compared with.
    facts: lines under the table: device, meter, measurement protocol, data.
    missing: the rows that are not complete yet, in words.
    left_out: lines about what the study has and the table does not show.
    """

    config: StudyConfig
    rows: tuple[Row, ...]
    measurements: Mapping[Key, Measurement]
    float_rows: tuple[Row, ...]
    facts: tuple[str, ...]
    missing: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def milestone(self) -> str:
        """Return m1 or m2."""
        return milestone_of(self.config)

    @property
    def title(self) -> str:
        """Return "Table 1" or "Table 2" with the study's name."""
        return f"Table {self.milestone[1]} ({self.config.name})"

    def deck(self, team: str, members: str) -> Deck:
        """Return the content of its slides."""
        return Deck(self.milestone, team, members, self.rows, self.float_rows, self.facts)


def milestone_of(config: StudyConfig) -> str:
    """Return m1 for a grid of float networks, m2 for one with dynamic quantization. Raises UsageError for a search."""
    if config.grid is None:
        message = f"{config.name} is a search and no grid"
        raise UsageError(message, remedy="name a study with [grid] for Tables 1 and 2: m1, m2")
    return config.grid.milestone


def read_table(config: StudyConfig, first: StudyConfig | None = None) -> GridTable:
    """Return what a grid study has found so far; `first`: that of Table 1, to compare Table 2 with.

    Raises UsageError where there is no whole row yet.
    """
    milestone, study = milestone_of(config), load_study(config)
    rows, measurements, others = _whole(study, config)
    if not rows:
        where = redact_url(storage_url(config))
        raise UsageError(f"{where} has no complete row yet; continue with `thrones run {config.name}`")
    left_out = [f"{pluralize(others, 'row')} of an earlier grid, or twice there: not shown"] * (others > 0)
    float_rows = [row for row in rows if row.quantization == Quantization.FLOAT32] if milestone == "m2" else []
    if milestone == "m2" and first is not None and study_exists(first):
        other = load_study(first)
        told = _unlike(study, other)
        if told:
            left_out.append(f"Table 1 is not compared with: {told}")
        else:
            there = {row.key for row in float_rows}
            float_rows += [row for row in _whole(other, first)[0] if row.key not in there]
    wanted = grid_rows(config.grid) if config.grid else []
    missing = [
        f"fraction {row.pruning_ratio:g} with {pluralize(row.epochs, 'epoch')}, {row.quantization}"
        for row in wanted
        if (row.pruning_ratio, row.epochs, row.quantization) not in measurements
    ]
    facts = _facts(study, config, next(iter(measurements.values())))
    return GridTable(config, tuple(rows), measurements, tuple(float_rows), facts, tuple(missing), tuple(left_out))


def first_of(config: StudyConfig, path: Path) -> StudyConfig | None:
    """Return the study of Table 1 beside Table 2's file, in the same storage; None where there is no such file."""
    first = path.with_name("m1.toml")
    if first == path or not first.exists():
        return None
    return overlaid(load_config(first, config.folder.parent), storage=config.storage, artifacts=config.artifacts)


def write_tables(folder: Path, table: GridTable, study_file: str, team: str = "–", members: str = "–") -> list[Path]:
    """Write the table as Markdown, CSV and slides, and every row's raw windows.

    Args:
        folder: Where to write.
        table: The table.
        study_file: The name of the study file, for the commands under the table.
        team: The team, for the slides.
        members: The team's members, for the slides.

    Returns:
        The written files.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file", remedy="name a folder")
    made = f"Made by `thrones run {study_file}`, then `thrones table {table.config.name}`."
    texts = (
        markdown(table.title, table.rows, [*table.facts, *notes(table.rows), made]),
        csv_text(table.rows),
        to_json(table.rows, table.measurements),
    )
    for name, text in zip(FILES, texts, strict=True):
        atomic_write(folder / name, text.encode())
    slides = folder / f"{table.milestone.upper()}.pptx"
    write_deck(slides, table.deck(team, members))
    return [*(folder / name for name in FILES), slides]


def to_json(rows: Sequence[Row], measured: Mapping[Key, Measurement]) -> str:
    """Return every row's setting, accuracy and raw windows as JSON, without what names a machine."""
    raw = [
        {
            "fraction": row.fraction,
            "epochs": row.epochs,
            "quantization": row.quantization,
            "test_accuracy_percent": row.test_accuracy_percent,
            "measurement": json.loads(anonymize_measurement(measured[row.key]).to_json()),
        }
        for row in rows
    ]
    return json.dumps({"rows": raw}, indent=1, allow_nan=False) + "\n"


def from_json(text: str) -> list[Row]:
    """Read what `to_json` wrote; every figure is derived again from the raw windows.

    Raises UsageError for anything else.
    """
    try:
        return [_stored_row(each) for each in json.loads(text)["rows"]]
    except (KeyError, TypeError, ValueError) as error:
        message = f"no stored table ({type(error).__name__}: {error})"
        raise UsageError(message, remedy="run `thrones table` again") from error


def _stored_row(stored: Mapping[str, Any]) -> Row:
    spec = CompressionSpec(
        pruning_ratios=(stored["fraction"],) * PRUNED_LAYERS,
        epochs=stored["epochs"],
        quantization=stored["quantization"],
    )
    return row_from(spec, stored["test_accuracy_percent"], Measurement.from_dict(stored["measurement"]))


def least_passes(text: str) -> int:
    """Return how many passes over the test set every row's measurement made at least; `text` as for `from_json`."""
    return min((each["measurement"]["plan"]["passes"] for each in json.loads(text)["rows"]), default=0)


def _whole(study: optuna.Study, config: StudyConfig) -> tuple[list[Row], dict[Key, Measurement], int]:
    """Return the rows that the grid asks for now, their raw windows, and how many other trials are complete."""
    complete = [record for record in read_trials(study) if record.is_complete]
    found: dict[Key, tuple[Row, Measurement]] = {}
    for record in complete:
        made = None if config.grid is None else _row_of_record(record, config, config.grid)
        if made is not None and record.measurement is not None:
            found.setdefault(made.key, (made, record.measurement))
    rows = sorted((row for row, _ in found.values()), key=lambda row: (row.quantization, row.fraction, row.epochs))
    return rows, {key: measured for key, (_, measured) in found.items()}, len(complete) - len(found)


def _row_of_record(record: TrialRecord, config: StudyConfig, grid: Grid) -> Row | None:
    """Return the row of a complete trial; None where the grid does not ask for it now."""
    if row_of(record) not in grid_rows(grid) or not is_current(record, config, grid):
        return None
    if record.spec is None or record.evaluation is None or record.measurement is None:
        return None
    test_accuracy_percent = record.evaluation.test_accuracy_percent
    return None if test_accuracy_percent is None else row_from(record.spec, test_accuracy_percent, record.measurement)


def _unlike(study: optuna.Study, first: optuna.Study) -> str:
    """Return what two grids do not have in common, in words; "" where they can be compared."""
    ours = record_of(study).fingerprint
    theirs = record_of(first).fingerprint
    for key in COMPARABLE:
        if ours.get(key) != theirs.get(key):
            return f"it was made with another {key}"
    return ""


def row_from(spec: CompressionSpec, test_accuracy_percent: float, measured: Measurement) -> Row:
    """Return the row of a specification with one pruning ratio for all layers, and of its model's measurement."""
    shape = spec.architecture()
    return Row(
        fraction=spec.pruning_ratios[0],
        epochs=spec.all_epochs,
        quantization=spec.quantization.value,
        test_accuracy_percent=test_accuracy_percent,
        peak_memory_mb=measured.peak_memory_mb,
        latency_ms=measured.latency_ms,
        max_power_w=measured.max_power_w,
        energy_mj=measured.energy_mj,
        estimated=measured.estimated,
        model_bytes=measured.model_bytes,
        parameters=shape.parameters,
        macs=shape.macs,
    )


def _facts(study: optuna.Study, config: StudyConfig, first: Measurement) -> tuple[str, ...]:
    where, plan = first.environment, first.plan
    meter = first.meter
    if first.estimated:
        meter += ", a constant: power and energy are estimates"
    protocol = f"{plan.windows} windows of {plan.window_s:g} s or more"
    if plan.passes:
        protocol += f", at least {pluralize(plan.passes, 'whole pass', 'whole passes')} over the test set"
    return (
        f"Device: {where.cpu}, {where.os}; {where.runtime}, {pluralize(plan.threads, 'thread')}",
        f"Meter: {meter}",
        f"Measured by plan {plan.name}: {protocol}; median of the windows",
        f"Data: {record_of(study).facts.data or config.data}; fine-tuned at a learning rate of "
        f"{config.training.learning_rate:g}; more epochs continue from fewer, each leg with its own cosine decay and a "
        "lower rate",
    )
