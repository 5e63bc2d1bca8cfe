"""A dry run: workers, storage and devices work as in any study, on candidates that nobody trains.

It is for who sets up a cluster, and to measure what the search itself costs. `[dry_run]` in a study file makes it one;
studies/dry_run.toml is an example. It needs no TensorFlow, so that many workers start at once.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray

from compress.spec import CompressionSpec
from edge.devices.device import Device
from edge.measuring.environment import kind_of
from edge.measuring.measurement import Measurement, Window
from edge.measuring.plan import MeasurePlan, plan_for
from edge.open_device import open_test_bench
from search.candidate.pipeline import Steps
from search.candidate.worker_context import WorkerContext, require_meter
from search.config import StudyConfig
from search.evaluation import Accuracy, ArchitectureResult, Rejection
from search.progress import Progress
from search.runner.lifecycle import (
    Fingerprint,
    compare_devices,
    create_or_resume_study,
    fingerprint_of,
    join_study,
)
from search.runner.loop import run_trials
from search.runner.run_pipeline import run_pipeline
from search.storage.artifacts import ArtifactStore, check_place, open_artifacts, upload_artifacts
from search.storage.lock import StudyLock
from search.storage.retry import count_trials
from search.storage.study_record import StudyFacts
from search.storage.trial_history import TrialHistory
from search.storage.trial_record import MODEL, WINDOWS, record_architecture, record_evaluation
from search.strategy.mutation import propose
from search.strategy.ranking import rank
from search.strategy.search_space import initial_params, suggest_spec
from search.strategy.task import Requirements, Task, incumbent_of

MODEL_FILE = Path(__file__).parent / "models" / "dry_run.tflite"
"""What the devices run in a dry run: a real network of 0.18 M MACs."""
CONSTRAINT_PERCENT = 70.0
EPOCHS = 4
NAME = "dry run"


@dataclass(frozen=True)
class DryRunContext(WorkerContext):
    """What the trials of a dry run share. `images`: uint8 (100, 32, 32, 3)."""

    device: Device
    plan: MeasurePlan
    model: bytes
    images: NDArray[np.uint8]
    artifacts: ArtifactStore
    train_s: float


def run_dry_run(
    config: StudyConfig, progress: Progress, launcher: Callable[[Progress, float], None] | None = None
) -> optuna.Study:
    """Do as `search.runner.study.run_study`, without the comparison at its end."""
    with StudyLock(config.folder) as lock, ExitStack() as stack:
        lock.hold_alone()
        check_place(config)
        context = _open(config, progress, stack)
        deadline_s = time.monotonic() + config.budget.minutes * 60
        facts = _facts(context)
        study = create_or_resume_study(context, _fingerprint(context), facts, initial_params(config), deadline_s)
        compare_devices(study, context, context.device, context.plan, context.model, context.images)
        lock.share()
        progress.begin()
        if launcher is None:
            _work(study, context, deadline_s)
        else:
            launcher(progress, deadline_s)
        return study


def work_on_dry_run(config: StudyConfig, progress: Progress, parent_pid: int | None = None) -> None:
    """Do as `search.runner.study.work_on_study`."""
    with StudyLock(config.folder) as lock, ExitStack() as stack:
        lock.share()
        context = _open(config, progress, stack, parent_pid)
        study, left_s = join_study(config, _fingerprint(context))
        progress.begin()
        _work(study, context, time.monotonic() + left_s)


def _open(
    config: StudyConfig, progress: Progress, stack: ExitStack, parent_pid: int | None = None
) -> DryRunContext:
    assert config.dry_run is not None
    device = stack.enter_context(open_test_bench(config.devices, config.meter, progress.device))
    require_meter(config.road, device)
    return DryRunContext(
        config=config,
        progress=progress,
        parent_pid=parent_pid,
        device=device,
        plan=plan_for(config.search_plan, device.shortest_window_s),
        model=MODEL_FILE.read_bytes(),
        images=np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8),
        artifacts=open_artifacts(config),
        train_s=config.dry_run.train_s,
    )


def _fingerprint(context: DryRunContext) -> Fingerprint:
    kind = kind_of(context.device.environment(), context.device.url)
    device_kind = {name: str(value) for name, value in kind.items()}
    return fingerprint_of(context.config, data=NAME, test=NAME, base=NAME, device_kind=device_kind, versions={})


def _facts(context: DryRunContext) -> StudyFacts:
    return StudyFacts(
        data=NAME,
        data_source="nothing is trained",
        constraint_percent=CONSTRAINT_PERCENT,
        required_percent=CONSTRAINT_PERCENT,
        environment=vars(context.device.environment()),
    )


def _work(study: optuna.Study, context: DryRunContext, deadline_s: float) -> None:
    history = TrialHistory(study)
    rng = np.random.default_rng()

    def left() -> int:
        return context.config.budget.trials - count_trials(history.records())

    def propose_next() -> None:
        propose(study, history.records(), context.config, rng)

    run_trials(
        study,
        context,
        history,
        partial(run_dry_trial, context=context, history=history, deadline_s=deadline_s),
        deadline_s=deadline_s,
        left=left,
        propose_next=propose_next,
        wait_for_others=True,
    )


def run_dry_trial(
    trial: optuna.Trial, context: DryRunContext, history: TrialHistory, deadline_s: float
) -> float:
    """Run a trial of the search on which nothing is trained; return the objective's value.

    Args:
        trial: The running trial.
        context: What the trials share.
        history: The trials of the study.
        deadline_s: `time.monotonic()` when the budget ends.

    Raises:
        Rejected: The candidate cannot win.
        EdgeError: The device cannot measure.
    """
    records = history.records()
    spec = suggest_spec(trial, context.config)
    task = Task(
        spec=spec,
        requirements=Requirements(CONSTRAINT_PERCENT, CONSTRAINT_PERCENT, deadline_s),
        incumbent=incumbent_of(rank(records, context.objective)),
        records=records,
    )
    evaluation = run_pipeline(trial, task, context, DRY_RUN_STEPS)
    best_case = context.objective.value_of(evaluation.measurement, 100.0)
    record_architecture(trial, ArchitectureResult(spec.architecture().macs, best_case, (evaluation.measurement,)))
    files = {MODEL: evaluation.model, WINDOWS: evaluation.measurement.to_json().encode()}
    artifacts = upload_artifacts(trial, context.artifacts, files)
    record_evaluation(trial, evaluation, artifacts, weights_key=NAME)
    return evaluation.value


def _pretend_to_train(
    task: Task, context: DryRunContext, on_epoch: Callable[[float, int], None]
) -> float | Rejection:
    """Take as long as a training; return the accuracy that it reaches."""
    percent = synthetic_percent(task.spec)
    for epoch in range(1, EPOCHS + 1):
        context.progress.phase(f"pretending to train, epoch {epoch}/{EPOCHS}")
        time.sleep(context.train_s / EPOCHS)
        on_epoch(percent * (1 - 0.5**epoch), epoch)
    return percent


def _measure(
    task: Task, context: DryRunContext, model: bytes, architecture: ArchitectureResult | None
) -> Measurement:
    return stretched(task.spec, context.device.measure(model, context.plan, context.images))


def synthetic_percent(spec: CompressionSpec) -> float:
    """Return an accuracy that grows with the logarithm of the arithmetic, as real ones do: 70 % at 0.2 M MACs."""
    return min(95.0, 70.0 + 8.0 * float(np.log10(spec.architecture().macs / 2e5)))


def stretched(spec: CompressionSpec, measurement: Measurement) -> Measurement:
    """Return the measurement, stretched as if the model had the candidate's arithmetic and each layer had its cost."""
    architecture = spec.architecture()
    factor = (architecture.macs + 2e5 * len(architecture.blocks)) / 1e6

    def stretched_window(window: Window) -> Window:
        return replace(
            window,
            end_s=window.start_s + window.length_s * factor,
            invoke_s=window.invoke_s * factor,
            p50_ms=window.p50_ms * factor,
            p90_ms=window.p90_ms * factor,
        )

    return replace(measurement, windows=tuple(stretched_window(window) for window in measurement.windows))


DRY_RUN_STEPS: Steps[DryRunContext, float] = Steps(
    measure_architecture=None,
    train=_pretend_to_train,
    convert=lambda task, context, percent: context.model,
    operators=lambda task, model: {},
    accuracy=lambda task, context, model: Accuracy(*[synthetic_percent(task.spec)] * 3),
    measure=_measure,
    test_accuracy=lambda context, model: None,
)
"""The bytes are the same for every candidate, so nothing but the measurement is real."""
