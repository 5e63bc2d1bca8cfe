"""Tables 1 and 2 out of a grid study's storage: rows, what is missing of them, and the files they become."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna

from compress.errors import UsageError
from compress.files import write_at_once
from compress.spec import PRUNED_LAYERS, CompressionSpec
from edge import Measurement
from search.config import StudyConfig, load_config
from search.milestones.rows import Row
from search.milestones.slides import Deck, write_deck
from search.milestones.tables import csv_text, markdown, notes
from search.space import grid_params
from search.storage import load_study
from search.storages import is_there, shown, storage_url
from search.winner import nameless

Key = tuple[float, int, str]
FILES = ("table.md", "table.csv", "results.json")


def milestone_of(config: StudyConfig) -> str:
    """m1 for a grid of float networks, m2 for one with quantization. Raises UsageError for a search."""
    if config.grid is None:
        raise UsageError(f"{config.name} is a search and no grid; Tables 1 and 2 are of studies with [grid]: m1, m2")
    return "m1" if set(config.grid.quantization) == {"float32"} else "m2"


def title_of(config: StudyConfig) -> str:
    """Table 1 or Table 2, and the study's name."""
    return f"Table {milestone_of(config)[1]} ({config.name})"


def rows_of(study: optuna.Study) -> list[Row]:
    """The rows that are whole, by format, fraction and epochs."""
    trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return sorted(map(_row, trials), key=lambda row: (row.quantization, row.fraction, row.epochs))


def measurements_of(study: optuna.Study) -> dict[Key, Measurement]:
    """Every row's raw windows, by its fraction, epochs and format."""
    trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return {key_of(_row(t)): Measurement.from_dict(t.user_attrs["measurement"]) for t in trials}


def missing_of(config: StudyConfig, rows: list[Row]) -> list[str]:
    """The rows of the grid that are not there yet, in words."""
    there = set(map(key_of, rows))
    wanted = grid_params(config.grid) if config.grid else []
    return [
        f"fraction {row['fraction']:g} with {row['epochs']} epochs, {row['quantization']}"
        for row in wanted
        if (row["fraction"], row["epochs"], row["quantization"]) not in there
    ]


def deck_of(path: Path, runs: Path, team: str, members: str) -> Deck:
    """The slides' content for the grid study of this file; Table 1's rows come from the m1.toml beside it.

    Raises UsageError where there is no row yet.
    """
    config = load_config(path, runs)
    milestone = milestone_of(config)
    study = load_study(config)
    rows = rows_of(study)
    if not rows:
        raise UsageError(f"{shown(storage_url(config))} has no whole row yet; go on with `thrones run {path}`")
    float_rows: list[Row] = []
    first = path.with_name("m1.toml")
    if milestone == "m2" and first.exists():
        of_first = load_config(first, runs)
        float_rows = rows_of(load_study(of_first)) if is_there(of_first) else []
    return Deck(milestone, team, members, tuple(rows), tuple(float_rows), _facts(study, config))


def write_tables(folder: Path, path: Path, runs: Path, team: str = "–", members: str = "–") -> list[Path]:
    """Write the table as Markdown, CSV and slides, and every row's raw windows; the files that were written.

    Raises UsageError as `deck_of` does.
    """
    config, deck = load_config(path, runs), deck_of(path, runs, team, members)
    said = [*deck.facts, *notes(deck.rows), f"Made by `thrones run {path.name}`, then `thrones table {config.name}`."]
    texts = (
        markdown(title_of(config), deck.rows, said),
        csv_text(deck.rows),
        to_json(deck.rows, measurements_of(load_study(config))),
    )
    for name, text in zip(FILES, texts, strict=True):
        write_at_once(folder / name, text.encode())
    slides = folder / f"{deck.milestone.upper()}.pptx"
    write_deck(slides, deck)
    return [*(folder / name for name in FILES), slides]


def to_json(rows: Sequence[Row], measured: Mapping[Key, Measurement]) -> str:
    """Every row's setting, accuracy and raw windows, without what names a machine; `from_json` gives the rows again."""
    raw = [
        {
            "fraction": row.fraction,
            "epochs": row.epochs,
            "quantization": row.quantization,
            "test_accuracy_percent": row.test_accuracy_percent,
            "measurement": json.loads(nameless(measured[key_of(row)]).to_json()),
        }
        for row in rows
    ]
    return json.dumps({"rows": raw}, indent=1, allow_nan=False) + "\n"


def from_json(text: str) -> list[Row]:
    """The rows again, every figure derived anew from the raw windows. Raises UsageError for anything else."""
    try:
        return [
            row_from(
                CompressionSpec(
                    fractions=(each["fraction"],) * PRUNED_LAYERS,
                    epochs=each["epochs"],
                    quantization=each["quantization"],
                ),
                each["test_accuracy_percent"],
                Measurement.from_dict(each["measurement"]),
            )
            for each in json.loads(text)["rows"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"no stored table ({type(error).__name__}: {error}); run `thrones table` again") from error


def key_of(row: Row) -> Key:
    """What names a row: fraction, epochs, format."""
    return row.fraction, row.epochs, row.quantization


def _row(trial: optuna.trial.FrozenTrial) -> Row:
    about = trial.user_attrs
    spec = CompressionSpec.from_dict(about["spec"])
    return row_from(spec, about["test_accuracy_percent"], Measurement.from_dict(about["measurement"]))


def row_from(spec: CompressionSpec, test_accuracy_percent: float, measured: Measurement) -> Row:
    """A row from the specification of the same fraction in every layer, and what was measured of its model."""
    shape = spec.architecture()
    return Row(
        fraction=spec.fractions[0],
        epochs=spec.all_epochs,
        quantization=spec.quantization,
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


def _facts(study: optuna.Study, config: StudyConfig) -> tuple[str, ...]:
    (first, *_) = measurements_of(study).values()
    where, plan = first.environment, first.plan
    meter = f"{first.meter}, a constant: power and energy are estimates" if first.estimated else first.meter
    passes = f"at least {plan.passes} whole pass{'es' * (plan.passes != 1)} over the test set" if plan.passes else ""
    windows = f"{plan.windows} windows of {plan.window_s:g} s or more"
    return (
        f"Device: {where.cpu}, {where.os}; {where.runtime}, {plan.threads} thread{'s' * (plan.threads != 1)}",
        f"Meter: {meter}",
        f"Measured by plan {plan.name}: {', '.join(filter(None, [windows, passes]))}; median of the windows",
        f"Data: {study.user_attrs.get('data', config.data)}; fine-tuned at a learning rate of "
        f"{config.training.learning_rate:g}; more epochs go on from fewer, each leg with its own cosine decay and a "
        "lower rate",
    )
