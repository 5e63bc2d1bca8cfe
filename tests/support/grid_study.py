"""A finished grid study made by hand: every required row of Table 1 or 2, with plausible figures."""

from dataclasses import replace
from pathlib import Path

import optuna
import record_factories as factories

from compress.quantization import Quantization
from edge.measuring.measurement import Measurement
from search.config import load_config
from search.storage.open_storage import open_storage
from search.storage.study_record import StudyFacts, record_beginning
from search.storage.urls import storage_url
from search.strategy.grid_space import grid_rows, row_spec

STUDY = """road = "latency"
data = "cifar10"
[grid]
pruning_ratio = [0.0, 0.05, 0.25, 0.5, 0.75, 0.9]
epochs = [0, 3, 5]
quantization = ["{quantization}"]
[measure]
search = "whole"
"""
HOST = factories.ENVIRONMENT.host
DISTRIBUTIONS: dict[str, optuna.distributions.BaseDistribution] = {
    "fraction": optuna.distributions.FloatDistribution(0.0, 1.0),
    "epochs": optuna.distributions.IntDistribution(0, 10_000),
    "quantization": optuna.distributions.CategoricalDistribution([scheme.value for scheme in Quantization]),
}


def measured(latency_ms: float, model: bytes) -> Measurement:
    """Return a measurement of three windows with an assumed power of 4.8 W."""
    one = factories.measured(latency_ms, model, "whole", peak_memory_mb=60.0, memory_growth_mb=5.0)
    window = replace(one.windows[0], end_s=10.0, images=9000, invoke_s=latency_ms * 9)
    environment = replace(one.environment, cpu="A CPU", python="3.11.7")
    return replace(one, windows=(window, window, window), environment=environment)


def write_grid(folder: Path, name: str = "m1", rows: int | None = None, device: str = "A CPU", **changes: str) -> Path:
    """Write `studies/<name>.toml` and its storage in `runs`; return the study file.

    Args:
        folder: Where both are written.
        name: The study's name; m2 is dynamic.
        rows: How many rows of the grid are complete, the first ones; None: all.
        device: The kind of device.
        changes: What replaces the values of these keys in the file.
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
    record_beginning(study, {"kind of device": [device]}, StudyFacts(data="cifar10"))
    for row in grid_rows(config.grid)[:rows]:
        ratio = row.pruning_ratio
        model = b"a model" * int(1000 * (1 - ratio))
        measurement = measured(1.2 * (1 - ratio) + 0.05, model)
        study.add_trial(
            factories.complete(
                measurement.latency_ms,
                spec=row_spec(config, config.grid, row),
                model=model,
                measurement=measurement,
                test_accuracy_percent=90.8 - 60 * ratio + 4 * min(row.epochs, 5) * ratio,
                constraint_violation=0.0,
                params=row.params,
                distributions=DISTRIBUTIONS,
            )
        )
    return path
