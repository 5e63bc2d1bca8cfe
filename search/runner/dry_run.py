"""A rehearsal: workers, storage and boards work as in any study, on candidates that nobody trains.

For who sets up a cluster, and to measure what the search itself costs. `[dry_run]` in a study file makes it one;
studies/dry_run.toml is an example. Needs no TensorFlow, so that many workers start at once.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from compress.spec import CompressionSpec
from edge.devices.device import Device
from edge.measuring.environment import kind_of
from edge.measuring.measurement import Measurement, Window
from edge.measuring.plan import MeasurePlan, plan_for
from edge.open import open_test_bench
from search.candidate.accuracy import Accuracy
from search.candidate.phase_timer import Stopwatch
from search.config import StudyConfig
from search.progress import Progress
from search.runner.lifecycle import Identity, begin_study, check_meter, compare_boards, identity, join
from search.runner.loop import Shift, optimize
from search.storage.artifacts import ArtifactStore, check_place, open_artifacts
from search.storage.study_state import Lock, best_value, counted
from search.storage.trial_attributes import attach, tell_candidate, tell_measurement
from search.strategy.early_stopping import best_case_of, is_better, objective
from search.strategy.history import measured
from search.strategy.mutation import propose
from search.strategy.search_space import asked_spec, starting_params

MODEL = Path(__file__).parent / "models" / "dry_run.tflite"
"""What the boards run in a rehearsal: a real network of 0.18 M MACs."""
RULE_PERCENT = 70.0
EPOCHS = 4


@dataclass(frozen=True)
class Stage(Shift):
    """What the trials of a rehearsal share."""

    device: Device
    plan: MeasurePlan
    model: bytes
    images: Any  # uint8 (100, 32, 32, 3)
    artifacts: ArtifactStore


def run_rehearsal(
    config: StudyConfig, progress: Progress, crew: Callable[[Progress, float], None] | None = None
) -> optuna.Study:
    """As `search.runner.study.run_study`, without the comparison at its end."""
    with Lock(config.folder) as lock, ExitStack() as stack:
        lock.alone()
        check_place(config)
        stage = _open(config, progress, stack)
        study = begin_study(stage, _identity(stage), _facts(stage), starting_params(config))
        compare_boards(study, stage, stage.device, stage.plan, stage.model, stage.images)
        lock.share()
        progress.begin()
        if crew is None:
            _work(study, stage)
        else:
            crew(progress, stage.deadline_s)
        return study


def join_rehearsal(config: StudyConfig, progress: Progress, parent: int | None = None) -> None:
    """As `search.runner.study.join_study`."""
    with Lock(config.folder) as lock, ExitStack() as stack:
        lock.share()
        stage = _open(config, progress, stack, parent)
        study, left_s = join(config, _identity(stage))
        progress.begin()
        _work(study, replace(stage, deadline_s=time.monotonic() + left_s))


def _open(config: StudyConfig, progress: Progress, stack: ExitStack, parent: int | None = None) -> Stage:
    device = stack.enter_context(open_test_bench(config.devices, config.meter, progress.device))
    check_meter(config.road, device)
    return Stage(
        config=config,
        progress=progress,
        deadline_s=time.monotonic() + config.budget.minutes * 60,
        parent=parent,
        device=device,
        plan=plan_for(config.search_plan, device.shortest_window_s),
        model=MODEL.read_bytes(),
        images=np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8),
        artifacts=open_artifacts(config),
    )


def _identity(stage: Stage) -> Identity:
    board = {name: str(value) for name, value in kind_of(stage.device.environment(), stage.device.url).items()}
    same = "rehearsal"
    return identity(stage.config, data=same, test=same, base=same, board=board, made_by={})


def _facts(stage: Stage) -> dict[str, Any]:
    return {
        "data": "rehearsal",
        "data source": "nothing is trained",
        "rule_percent": RULE_PERCENT,
        "required_percent": RULE_PERCENT,
        "environment": vars(stage.device.environment()),
    }


def _work(study: optuna.Study, stage: Stage) -> None:
    rng = np.random.default_rng()

    def left() -> int:
        return stage.config.budget.trials - counted(study.get_trials(deepcopy=False))

    optimize(study, stage, rehearse, left, lambda: propose(study, stage.config, rng), stay=True)


def rehearse(trial: optuna.Trial, stage: Stage) -> float:
    """The way of `search.runner.trial.run_trial` with all that it asks and tells; accuracy and speed are made up."""
    config = stage.config
    assert config.dry_run is not None
    with Stopwatch(trial) as clock:
        stage.progress.trial(trial.number, clock.on_status)
        spec = asked_spec(trial, config)
        trial.set_user_attr("spec", spec.to_dict())
        macs = spec.architecture().macs
        trials = trial.study.get_trials(deepcopy=False)
        incumbent = best_value(trial.study, trials=trials)
        free = best_case_of(config.road, macs, measured(trials))
        if incumbent is not None and free is not None and not is_better(config.road, free, incumbent):
            raise optuna.TrialPruned(f"cannot win: {macs:,} MACs allow {free:.4g} at most")
        with clock.phase("train"):
            for epoch in range(1, EPOCHS + 1):
                stage.progress.phase(f"pretending to train, epoch {epoch}/{EPOCHS}")
                time.sleep(config.dry_run.train_s / EPOCHS)
                trial.report(made_up_percent(spec) * (1 - 0.5**epoch), epoch)
        with clock.phase("measure"):
            stage.progress.phase("measuring")
            measurement = made_up(spec, stage.device.measure(stage.model, stage.plan, stage.images))
        value = objective(config.road, measurement, made_up_percent(spec))
        trial.set_user_attr("structure", {"macs": macs, "best_case": objective(config.road, measurement, 100.0)})
        tell_measurement(trial, measurement)
        shortfall = RULE_PERCENT - made_up_percent(spec)
        percent = made_up_percent(spec)
        tell_candidate(trial, stage.model, {}, Accuracy(percent, percent, percent), shortfall)
        attach(trial, stage.artifacts, stage.model, measurement)
        trial.set_user_attr("constraint", shortfall)
        return value


def made_up_percent(spec: CompressionSpec) -> float:
    """An accuracy that grows with the logarithm of the arithmetic, as real ones do: 70 % at 0.2 M MACs."""
    return min(95.0, 70.0 + 8.0 * float(np.log10(spec.architecture().macs / 2e5)))


def made_up(spec: CompressionSpec, measurement: Measurement) -> Measurement:
    """The board's figures, stretched as if the model had the candidate's arithmetic and one layer cost some of it."""
    architecture = spec.architecture()
    factor = (architecture.macs + 2e5 * len(architecture.blocks)) / 1e6

    def stretched(window: Window) -> Window:
        times = {name: getattr(window, name) * factor for name in ("invoke_s", "p50_ms", "p90_ms")}
        return replace(window, end_s=window.start_s + window.length_s * factor, **times)

    return replace(measurement, windows=tuple(map(stretched, measurement.windows)))
