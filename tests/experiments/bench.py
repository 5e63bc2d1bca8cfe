"""The speed of thrones itself: `make bench` prints a table and writes bench.json. Nothing here is a test.

Shared machines are noisy: what is compared is compared within this one run, alternating, as the ratio of medians.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np

MICRO = {"pruning_ratios": 0.25, "dropped_blocks": (2, 4, 6, 7, 8, 9, 10, 11, 12), "stem_stride": 2}
"""A candidate of about one million MACs."""


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, its value, and the limit it is held against."""

    what: str
    value: float
    unit: str
    limit: str
    kept: bool


def seconds(action: Callable[[], Any]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def startup() -> list[Row]:
    """Cold imports and the command's help, median of 7 processes each."""

    def run(*arguments: str) -> float:
        return median(
            seconds(lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL))
            for _ in range(7)
        )

    bare = run("-c", "pass")
    edge = run("-c", "import edge.open") - bare
    help_s = run("-m", "search", "--help")
    return [
        Row("import edge.open (without Python's own start)", edge, "s", "<= 0.3", edge <= 0.3),
        Row("thrones --help", help_s, "s", "<= 0.5", help_s <= 0.5),
    ]


def overhead(trials: int = 60) -> Row:
    """What is left of a trial when training, conversion and measuring cost nothing: sampler, storage, artifacts."""
    import optuna
    from models import float_model
    from rich.console import Console

    from edge.devices.local import LocalDevice
    from edge.measuring.plan import PLANS, MeasurePlan
    from edge.meters.meter import open_meter
    from search.cache import Cache
    from search.candidate.accuracy import Accuracy
    from search.candidate.calibration import Speed
    from search.candidate.train import Candidate
    from search.config import StudyConfig
    from search.progress import Progress
    from search.runner import study as study_module
    from search.runner import trial as trial_module
    from search.runner.lifecycle import begin_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    model = float_model()
    device = LocalDevice(open_meter("estimate://4.8W"))
    images = np.zeros((4, 32, 32, 3), np.uint8)
    measurement = device.measure(model, MeasurePlan("bench", 0.0, 1, 0.01, max_spread=9.0), images)
    candidate = Candidate(model, {}, Accuracy(80.0, 80.0, 80.0), (70.0, 80.0))
    kept = trial_module.measure_structure, trial_module.obtain, trial_module.measure_trained
    trial_module.measure_structure = lambda *_: [measurement]
    trial_module.measure_trained = lambda *_: measurement
    trial_module.obtain = lambda bench, spec, trial, *_: (trial.report(80.0, 1), candidate)[1]
    try:
        with tempfile.TemporaryDirectory() as folder, Progress(Console(quiet=True), 1) as progress:
            config = StudyConfig(name="bench", road="fom", folder=Path(folder), budget={"trials": trials})  # type: ignore[arg-type]  # pydantic converts
            (Path(folder) / "artifacts").mkdir()
            data = _Nothing(key="bench", name="bench", source="bench")
            bench = trial_module.Bench(
                config=config, data=data, base=[], plan=PLANS["search"],
                rule_percent=70.0, required_percent=70.0, deadline_s=time.monotonic() + 3600,  # type: ignore[arg-type]  # no image is read
                base_model=b"", base_speed=Speed(1.0, 1.0, None), converter=None, device=device,  # type: ignore[arg-type]  # not reached
                cache=Cache(Path(folder) / "cache"),  # type: ignore[arg-type]  # not reached
                artifacts=optuna.artifacts.FileSystemArtifactStore(str(Path(folder) / "artifacts")), progress=progress,
                parent=None,
            )
            study = begin_study(bench, {}, {}, [])
            study_module._search(study, bench)
            taken = [trial.duration.total_seconds() for trial in study.trials if trial.duration is not None]
            starts = sorted(trial.datetime_start for trial in study.trials if trial.datetime_start is not None)
    finally:
        trial_module.measure_structure, trial_module.obtain, trial_module.measure_trained = kept
    assert len(taken) == trials
    between = [(later - earlier).total_seconds() for earlier, later in zip(starts, starts[1:], strict=False)]
    value = median(between) * 1000
    return Row(f"a trial's own cost, median of {trials}", value, "ms", "<= 100", value <= 100)


@dataclass(frozen=True)
class _Nothing:
    key: str
    name: str
    source: str
    validation: tuple[list[Any], list[Any]] = ([], [])
    test: tuple[list[Any], list[Any]] = ([], [])


def training(name: str, spec_values: dict[str, Any], count: int, rounds: int = 3) -> Row:
    """Images a second of our loop with augmentation against a bare `model.fit` without, on the same arrays."""
    from compress.network import build
    from compress.spec import CompressionSpec
    from compress.tensorflow_setup import keras
    from compress.training.train import Trainer
    from compress.training.train_plan import TrainPlan

    ratios = (spec_values.get("pruning_ratios", 0.0),) * 14
    architecture = CompressionSpec(**{**spec_values, "pruning_ratios": ratios}).architecture()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, count)
    ours = Trainer(build(architecture), TrainPlan(99, 0.05), images, labels, seed=0, flip=True)
    bare = build(architecture)
    bare.compile(keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True), "sparse_categorical_crossentropy")
    floats = images.astype(np.float32)

    def fit() -> None:
        bare.fit(floats, labels, batch_size=64, verbose=0)

    ours.epoch(0), fit()  # compile both
    pairs = [(seconds(lambda n=n: ours.epoch(n)), seconds(fit)) for n in range(1, rounds + 1)]
    ratio = median(theirs for _, theirs in pairs) / median(mine for mine, _ in pairs)
    speed = count / median(mine for mine, _ in pairs)
    return Row(f"training {name}, {speed:,.0f} images/s; against model.fit", ratio, "x", ">= 0.9", ratio >= 0.9)


def measuring() -> list[Row]:
    """Accuracy of a 1-MMAC model on 10,000 images, and how far repeated latencies of one model lie apart."""
    from compress.convert import ConversionJob, convert
    from compress.network import build
    from compress.quantization import Quantization
    from compress.spec import CompressionSpec
    from edge.devices.local import LocalDevice
    from edge.measuring.plan import PLANS

    spec = CompressionSpec(**{**MICRO, "pruning_ratios": (MICRO["pruning_ratios"],) * 14})  # type: ignore[arg-type]  # a mixed dict
    architecture = spec.architecture()
    model = convert(ConversionJob(architecture, build(architecture).get_weights(), Quantization.FLOAT32))
    images = np.random.default_rng(0).integers(0, 256, (10_000, 32, 32, 3), dtype=np.uint8)
    with LocalDevice() as device:
        taken = median(seconds(lambda: device.predict(model, images)) for _ in range(3))
        latencies = [device.measure(model, PLANS["search"], images[:100]).latency_ms for _ in range(10)]
    variation = stdev(latencies) / mean(latencies) * 100
    name = f"{architecture.macs / 1e6:.2f}-MMAC model"
    return [
        Row(f"{name} on 10,000 images", taken, "s", "<= 2", taken <= 2),
        Row(f"{name}, {median(latencies):.4f} ms: variation of 10 medians", variation, "%", "<= 3", variation <= 3),
    ]


def main() -> None:
    """Measure, print, write bench.json."""
    rows = startup()
    rows.append(overhead())
    rows += measuring()
    rows.append(training("the base", {}, 64 * 12))
    rows.append(training("a 1-MMAC network", MICRO, 64 * 150))
    for row in rows:
        print(f"{'ok  ' if row.kept else 'MISS'}  {row.value:9.3f} {row.unit:3s} {row.limit:>8s}  {row.what}")
    Path("bench.json").write_text(json.dumps([vars(row) for row in rows], indent=1) + "\n")
    print("wrote bench.json")


if __name__ == "__main__":
    main()
