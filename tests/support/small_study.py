"""A small finished study made by hand, with raw windows, faults and a comparison: something to export a winner from."""

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import models
import optuna

from compress.spec import CompressionSpec
from edge.measuring.measurement import Environment, Measurement, Window
from edge.measuring.plan import PLANS
from search.config import load_config
from search.report import export
from search.report.load_results import collect
from search.storage.open import open_storage
from search.storage.study_state import load_study

HOST = "secret-machine"
START = datetime(2024, 1, 1, 12)
MODEL = models.float_model()
SPEC = CompressionSpec(pruning_ratios=(0.5,) * 14, dropped_blocks=(7, 8), stem_stride=2, epochs=12)


def measured(latency_ms: float, model: bytes = MODEL, plan: str = "final") -> Measurement:
    """Return a measurement of one window, with an assumed power of 4.8 W."""
    return Measurement(
        sha256=sha256(model).hexdigest(),
        model_bytes=len(model),
        plan=PLANS[plan],
        windows=(Window(0.0, 10.0, 1000, latency_ms, latency_ms, latency_ms * 1.1, 4.8, 4.8),),
        peak_memory_mb=48.0,
        memory_growth_mb=1.0,
        load_ms=1.0,
        environment=Environment(
            HOST, "x86_64", "A CPU @ 2.0 GHz", 2, "Debian GNU/Linux 12", "3.12.1", "ai-edge-litert 2.3.0", "XNNPACK",
            None, None, None, None,
        ),
        device="ssh://anna@pi.example",
        meter="estimate://4.8W",
        estimated=True,
    )  # fmt: skip


def stored(measurement: Measurement) -> dict[str, Any]:
    """Return a measurement as the study keeps it."""
    return dict(json.loads(measurement.to_json()))


def trial(
    minutes: tuple[float, float], latency_ms: float, shortfall: float = -1.0, **attrs: object
) -> optuna.trial.FrozenTrial:
    """Return a complete trial, begun and ended so many minutes after the study."""
    candidate = {"sha256": sha256(MODEL).hexdigest(), "bytes": len(MODEL), "operators": {}, "accuracy_percent": 72.1}
    about = {
        "spec": SPEC.to_dict(),
        "seconds": {"structure": 2.0, "train and convert": 58.0, "measure": 1.5},
        "measurement": stored(measured(latency_ms, plan="search")),
        "candidate": candidate,
        "shortfall": shortfall,
        "constraint": shortfall,
        "artifact model.tflite": "the-model",
        **attrs,
    }
    made = optuna.trial.create_trial(value=latency_ms, user_attrs=about)
    made.datetime_start, made.datetime_complete = (START + timedelta(minutes=minute) for minute in minutes)
    return made


def failed(reason: str) -> optuna.trial.FrozenTrial:
    """Return a trial that a fault ended."""
    about = {
        "spec": SPEC.to_dict(),
        "phases": [["structure", START.timestamp(), 1.5], ["measure structure", START.timestamp() + 1.5, 0.5]],
        "structure": {"device": "ssh://anna@pi.example"},
        "worker": f"{HOST}:7",
        "reason": reason,
    }
    made = optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs=about)
    made.datetime_start, made.datetime_complete = START, START + timedelta(minutes=1)
    return made


TRIALS = (
    failed(f"OSError: /home/anna/runs/x.npz on {HOST} is gone"),
    trial((1, 12), 0.004, shortfall=0.5),  # the fastest, and not accurate enough
    trial((12, 30), 0.010),
    trial((30, 100.5), 0.005),
    trial((100.5, 120), 0.006),
)
COMPARISON = {
    "trial": 3,
    "base": {"measurement": stored(measured(0.9, b"TFL3 the base")), "test_accuracy_percent": 90.8},
    "best": {"measurement": stored(measured(0.006)), "test_accuracy_percent": 71.02},
}


def write_study(
    folder: Path, trials: tuple[optuna.trial.FrozenTrial, ...], comparison: dict[str, Any] | None, road: str = "latency"
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
        direction="maximize" if road == "fom" else "minimize",
    )
    for name, value in (
        ("identity", {"base": "0123456789abcdef", "host": ["local:", "estimate://4.8W", HOST]}),
        ("road", road),
        ("data", "cifar10"),
        ("data source", "/home/anna/data/cifar-10-batches-py"),
        ("rule_percent", 70.0),
        ("required_percent", 71.5),
        ("environment", asdict(measured(1.0).environment)),
        ("comparison", comparison),
    ):
        if value is not None:
            study.set_user_attr(name, value)
    study.add_trials(trials)
    return folder


def export_winner(where: str = "results/small") -> list[str]:
    """Export the winner of the study in the working directory, in this process; return the lines to print."""
    file = Path("studies/small.toml")
    config = load_config(file)
    study = load_study(config)
    return export.write_results(Path(where), file, study, config, collect(study, config))
