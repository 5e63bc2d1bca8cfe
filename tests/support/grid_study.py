"""A finished grid study made by hand: every required row of Table 1 or 2, with plausible figures."""

import json
from hashlib import sha256
from pathlib import Path

import optuna

from compress.quantization import Quantization
from edge.measuring.measurement import Environment, Measurement, Window
from edge.measuring.plan import PLANS
from search.config import load_config
from search.storage.open import open_storage, storage_url
from search.strategy.search_space import grid_params, row_spec

STUDY = """road = "latency"
data = "cifar10"
[grid]
pruning_ratio = [0.0, 0.05, 0.25, 0.5, 0.75, 0.9]
epochs = [0, 3, 5]
quantization = ["{quantization}"]
[measure]
search = "whole"
"""
HOST = "secret-machine"
DISTRIBUTIONS: dict[str, optuna.distributions.BaseDistribution] = {
    "fraction": optuna.distributions.FloatDistribution(0.0, 1.0),
    "epochs": optuna.distributions.IntDistribution(0, 10_000),
    "quantization": optuna.distributions.CategoricalDistribution([scheme.value for scheme in Quantization]),
}


def measured(latency_ms: float, model: bytes) -> Measurement:
    """Three windows with an assumed power of 4.8 W."""
    window = Window(0.0, 10.0, 9000, latency_ms * 9, latency_ms, latency_ms * 1.1, 4.8, 4.8)
    return Measurement(
        sha256=sha256(model).hexdigest(),
        model_bytes=len(model),
        plan=PLANS["whole"],
        windows=(window, window, window),
        peak_memory_mb=60.0,
        memory_growth_mb=5.0,
        load_ms=1.0,
        environment=Environment(
            HOST, "x86_64", "A CPU", 2, "Debian GNU/Linux 12", "3.11.7", "ai-edge-litert 2.3.0", "XNNPACK",
            None, None, None, None,
        ),
        device="ssh://anna@pi.example",
        meter="estimate://4.8W",
        estimated=True,
    )  # fmt: skip


def write_grid(folder: Path, name: str = "m1", rows: int | None = None, board: str = "A CPU", **changes: str) -> Path:
    """`studies/<name>.toml` and its storage in `runs`, with the first so many rows of the grid; the study file.

    changes: what stands in the file in place of what.
    """
    path = folder / "studies" / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    text = STUDY.format(quantization="dynamic" if name == "m2" else "float32")
    for line, other in changes.items():
        text = "\n".join(f"{line} = {other}" if old.startswith(f"{line} =") else old for old in text.splitlines())
    path.write_text(text)
    config = load_config(path, folder / "runs")
    assert config.grid is not None
    config.folder.mkdir(parents=True)
    study = optuna.create_study(study_name=name, storage=open_storage(storage_url(config)))
    study.set_user_attr("data", "cifar10")
    study.set_user_attr("identity", {"kind of board": [board]})
    for row in grid_params(config.grid)[:rows]:
        fraction, epochs, spec = row["fraction"], row["epochs"], row_spec(config, config.grid, **row)
        measurement = measured(1.2 * (1 - fraction) + 0.05, b"a model" * int(1000 * (1 - fraction)))
        about = {
            "spec": spec.to_dict(),
            "measurement": json.loads(measurement.to_json()),
            "test_accuracy_percent": 90.8 - 60 * fraction + 4 * min(epochs, 5) * fraction,
            "shortfall": 0.0,
            "constraint": 0.0,
        }
        study.add_trial(
            optuna.trial.create_trial(
                value=measurement.latency_ms, user_attrs=about, params=row, distributions=DISTRIBUTIONS
            )
        )
    return path
