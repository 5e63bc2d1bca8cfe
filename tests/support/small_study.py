"""A small finished study made by hand, with raw windows, faults and a comparison: something to export a winner from."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import models
import optuna
import record_factories as factories
from optuna.trial import FrozenTrial

from compress.spec import CompressionSpec
from edge.measuring.measurement import Measurement
from search.config import load_config
from search.evaluation import Accuracy, EndReason, Phase, PhaseTime
from search.objective import Objective
from search.report import export
from search.report.load_results import load_results
from search.storage.open_storage import load_study, open_storage
from search.storage.study_record import (
    ComparedModel,
    FinalComparison,
    StudyFacts,
    record_beginning,
    record_comparison,
)
from search.storage.trial_record import MODEL as MODEL_FILE

HOST = factories.ENVIRONMENT.host
START = datetime(2024, 1, 1, 12)
MODEL = models.float_model()
SPEC = CompressionSpec(pruning_ratios=(0.5,) * 14, dropped_blocks=(7, 8), stem_stride=2, epochs=12)
FACTS = StudyFacts(
    data="cifar10",
    data_source="/home/anna/data/cifar-10-batches-py",
    constraint_percent=70.0,
    required_percent=71.5,
    environment=asdict(factories.ENVIRONMENT),
)


def measured(latency_ms: float, model: bytes = MODEL, plan: str = "final") -> Measurement:
    """Return a measurement of one window, with an assumed power of 4.8 W."""
    return factories.measured(latency_ms, model, plan)


def phases(start: datetime, **seconds: float) -> list[PhaseTime]:
    """Return phases of these lengths, one after the other; their names are those of `Phase`."""
    found = []
    start_s = start.timestamp()
    for name, length_s in seconds.items():
        found.append(PhaseTime(Phase[name], start_s, length_s))
        start_s += length_s
    return found


def trial(
    minutes: tuple[float, float], latency_ms: float, constraint_violation: float = -1.0, **facts: Any
) -> FrozenTrial:
    """Return a complete trial, begun and ended so many minutes after the study."""
    start = START + timedelta(minutes=minutes[0])
    made = factories.complete(
        latency_ms,
        spec=SPEC,
        model=MODEL,
        accuracy=Accuracy(72.1, 72.1, 72.1),
        measurement=measured(latency_ms, plan="search"),
        constraint_violation=constraint_violation,
        artifacts={MODEL_FILE: "the-model"},
        phases=phases(start, ARCHITECTURE=2.0, TRAIN=58.0, MEASURE=1.5),
        **facts,
    )
    made.datetime_start = start
    made.datetime_complete = START + timedelta(minutes=minutes[1])
    return made


def failed(message: str) -> FrozenTrial:
    """Return a trial that a fault ended after its architecture was measured."""
    made = factories.failed(
        EndReason.INTERNAL_ERROR,
        message,
        spec=SPEC,
        architecture=factories.architecture(0.005),
        phases=phases(START, ARCHITECTURE=1.5, MEASURE_ARCHITECTURE=0.5),
        worker=f"{HOST}:7",
    )
    made.datetime_start = START
    made.datetime_complete = START + timedelta(minutes=1)
    return made


TRIALS = (
    failed(f"OSError: /home/anna/runs/x.npz on {HOST} is gone"),
    trial((1, 12), 0.004, constraint_violation=0.5),  # the fastest, and not accurate enough
    trial((12, 30), 0.010),
    trial((30, 100.5), 0.005),
    trial((100.5, 120), 0.006),
)
COMPARISON = FinalComparison(
    trial=3,
    base=ComparedModel(measured(0.9, b"TFL3 the base"), 90.8),
    best=ComparedModel(measured(0.006), 71.02),
    values={},
)


def write_study(
    folder: Path, trials: Sequence[FrozenTrial], comparison: FinalComparison | None, road: str = "latency"
) -> Path:
    """Write the study file, its storage and its artifacts into `folder`; return it."""
    (folder / "studies").mkdir()
    text = f'road = "{road}"  # a study\n'
    (folder / "studies" / "small.toml").write_text(text)
    runs = folder / "runs" / "small"
    (runs / "artifacts").mkdir(parents=True)
    (runs / "artifacts" / "the-model").write_bytes(MODEL)
    study = optuna.create_study(
        study_name="small",
        storage=open_storage(f"sqlite:///{runs / 'study.db'}"),
        direction=Objective(road).direction,
    )
    fingerprint = {"base": "0123456789abcdef", "host": ["local:", "estimate://4.8W", HOST]}
    record_beginning(study, fingerprint, FACTS)
    if comparison is not None:
        record_comparison(study, comparison)
    study.add_trials(trials)
    return folder


def export_winner(where: str = "results/small") -> list[str]:
    """Export the winner of the study in the working directory, in this process; return the lines to print."""
    file = Path("studies/small.toml")
    config = load_config(file)
    study = load_study(config)
    return export.write_results(Path(where), file, study, config, load_results(study, config))
