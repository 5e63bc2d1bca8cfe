"""Estimate what pruning trials early has saved, from what the complete trials cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from search.evaluation import Phase, Stage
from search.report.results import TrialResult

PHASES: dict[Stage, tuple[Phase, ...]] = {
    Stage.BOUND: (),
    Stage.ARCHITECTURE: (Phase.ARCHITECTURE, Phase.MEASURE_ARCHITECTURE),
    Stage.TRAINING: (Phase.TRAIN, Phase.CONVERT),
    Stage.MEASUREMENT: (Phase.MEASURE,),
}
"""The phases of each stage. Waiting belongs to no stage."""
TIMED_STAGES = (Stage.ARCHITECTURE, Stage.TRAINING, Stage.MEASUREMENT)
DEVICE_STAGES = (Stage.ARCHITECTURE, Stage.MEASUREMENT)
StageSeconds = Mapping[Stage, float]


@dataclass(frozen=True)
class StageSaving:
    """One stage over all trials: how many ended there, and the seconds that it cost and saved.

    The savings are None while no complete trial shows what the later stages would have cost.
    """

    stage: Stage
    ended: int
    spent_s: float
    device_saved_s: float | None
    training_saved_s: float | None


def early_stopping_savings(trials: Sequence[TrialResult]) -> tuple[StageSaving, ...]:
    """Return what each stage cost and saved, as if its pruned trials had otherwise become complete.

    Each later stage counts with its median over the complete trials, a stopped training with the
    median training less what it had taken.
    """
    seconds = [_stage_seconds(trial) for trial in trials]
    typical_s = _typical_seconds(trials, seconds)
    savings = []
    for stage in PHASES:
        spent_s = sum(each.get(stage, 0.0) for each in seconds)
        pruned = []
        for trial, trial_seconds in zip(trials, seconds, strict=True):
            if trial.pruned_at is stage:
                pruned.append(trial_seconds)
        device_saved_s, training_saved_s = None, None
        if typical_s is not None:
            device_saved_s = _device_saved_s(stage, len(pruned), typical_s)
            training_saved_s = _training_saved_s(stage, pruned, typical_s)
        savings.append(StageSaving(stage, len(pruned), spent_s, device_saved_s, training_saved_s))
    return tuple(savings)


def _stage_seconds(trial: TrialResult) -> dict[Stage, float]:
    """Return the seconds of each stage that the trial has reached, in their order."""
    found: dict[Stage, float] = {}
    for stage, phases in PHASES.items():
        seconds = [trial.seconds[phase] for phase in phases if phase in trial.seconds]
        if seconds:
            found[stage] = sum(seconds)
    return found


def _typical_seconds(
    trials: Sequence[TrialResult], seconds: Sequence[StageSeconds]
) -> StageSeconds | None:
    """Return the median of each stage over the complete trials; None where there are none."""
    complete = []
    for trial, trial_seconds in zip(trials, seconds, strict=True):
        if trial.is_complete and all(stage in trial_seconds for stage in TIMED_STAGES):
            complete.append(trial_seconds)
    if not complete:
        return None
    return {stage: median(each[stage] for each in complete) for stage in TIMED_STAGES}


def _later_stages(stage: Stage) -> list[Stage]:
    stages = list(PHASES)
    return stages[stages.index(stage) + 1 :]


def _device_saved_s(stage: Stage, pruned: int, typical_s: StageSeconds) -> float:
    saved_s = 0.0
    for later in _later_stages(stage):
        if later in DEVICE_STAGES:
            saved_s += pruned * typical_s[later]
    return saved_s


def _training_saved_s(
    stage: Stage, pruned: Sequence[StageSeconds], typical_s: StageSeconds
) -> float:
    if Stage.TRAINING in _later_stages(stage):
        return len(pruned) * typical_s[Stage.TRAINING]
    if stage is Stage.TRAINING:
        return sum(max(0.0, typical_s[stage] - seconds.get(stage, 0.0)) for seconds in pruned)
    return 0.0
