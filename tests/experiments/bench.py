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
    edge = run("-c", "import edge.open_device") - bare
    help_s = run("-m", "search", "--help")
    return [
        Row("import edge.open_device (without Python's own start)", edge, "s", "<= 0.3", edge <= 0.3),
        Row("thrones --help", help_s, "s", "<= 0.5", help_s <= 0.5),
    ]


def overhead(trials: int = 60) -> Row:
    """What is left of a trial when training, conversion and measuring cost nothing: sampler, storage, artifacts."""
    import optuna
    from models import float_model
    from rich.console import Console

    from edge.devices.local import LocalDevice
    from edge.measuring.plan import PLANS, MeasurePlan
    from edge.measuring.training_lock import TrainingPlace
    from edge.meters.meter import open_meter
    from search.candidate.calibration import Speed
    from search.candidate.context import TrialContext
    from search.candidate.pipeline import Steps
    from search.candidate.weights import TrainedWeights
    from search.config import StudyConfig
    from search.evaluation import Accuracy, ArchitectureResult
    from search.objective import Objective
    from search.progress import Progress
    from search.runner import study as study_module
    from search.runner import trial as trial_module
    from search.runner.lifecycle import create_or_resume_study
    from search.storage.cache import Cache
    from search.storage.study_record import StudyFacts
    from search.storage.trial_history import TrialHistory
    from search.storage.trial_record import read_trials

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    model = float_model()
    device = LocalDevice(open_meter("estimate://4.8W"))
    images = np.zeros((4, 32, 32, 3), np.uint8)
    measurement = device.measure(model, MeasurePlan("bench", 0.0, 1, 0.01, max_spread=9.0), images)
    best_case = Objective.FOM.value_of(measurement, 100.0)

    def train(task: Any, context: TrialContext, on_epoch: Callable[[float, int], None]) -> TrainedWeights:
        on_epoch(80.0, 1)
        return TrainedWeights([], (80.0,))

    kept = trial_module.SEARCH_STEPS
    trial_module.SEARCH_STEPS = Steps(
        measure_architecture=lambda task, *_: ArchitectureResult(
            task.spec.architecture().macs, best_case, (measurement,)
        ),
        train=train,
        convert=lambda *_: model,
        operators=lambda *_: {},
        accuracy=lambda *_: Accuracy(80.0, 80.0, 80.0),
        measure=lambda *_: measurement,
        test_accuracy=lambda *_: None,
    )
    try:
        with tempfile.TemporaryDirectory() as folder, Progress(Console(quiet=True), 1) as progress:
            config = StudyConfig(name="bench", road="fom", folder=Path(folder), budget={"trials": trials})  # type: ignore[arg-type]  # pydantic converts
            (Path(folder) / "artifacts").mkdir()
            context = TrialContext(
                config=config,
                progress=progress,
                parent_pid=None,
                data=_Nothing(key="bench", name="bench", source="bench"),  # type: ignore[arg-type]  # no image is read
                base=[],
                base_key="bench",
                base_model=b"",
                base_speed=Speed(1.0, 1.0, None),
                constraint_percent=70.0,
                required_percent=70.0,
                plan=PLANS["search"],
                converter=None,  # type: ignore[arg-type]  # not reached
                device=device,
                device_kind={},
                cache=Cache(Path(folder) / "cache"),
                artifacts=optuna.artifacts.FileSystemArtifactStore(str(Path(folder) / "artifacts")),
                training_place=TrainingPlace(),
                teacher_logits=lambda: np.zeros((0, 10), np.float32),
            )
            deadline_s = time.monotonic() + 3600
            study = create_or_resume_study(context, {}, StudyFacts(), [], deadline_s)
            study_module._search(study, context, TrialHistory(study), deadline_s)
            starts = sorted(record.start for record in read_trials(study) if record.start is not None)
    finally:
        trial_module.SEARCH_STEPS = kept
    assert len(starts) == trials
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
    from compress.conversion.convert import ConversionJob, convert
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
