"""What giving up trials early has saved, stage by stage: an estimate from what the complete trials cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from search.report.results import TrialResult
from search.storage.study_state import OUT_OF_TIME
from search.strategy.search_space import NO_NETWORK

TRAINING = "train and convert"
STAGES: dict[str, tuple[str, ...]] = {
    "free": (),
    "structure": ("structure", "measure structure"),
    TRAINING: ("train", "convert", "train and convert"),  # the last: of studies that did not tell the two apart
    "measure": ("measure",),
}
"""A trial's way, and the phases of each stage; what has none was given up on its MACs alone. Waiting is no stage."""
DEVICE_STAGES = ("structure", "measure")


@dataclass(frozen=True)
class StageSaving:
    """One stage over all trials; what is saved is None while no complete trial tells what the rest would have cost."""

    stage: str
    ended: int
    spent_s: float
    device_saved_s: float | None
    training_saved_s: float | None


def savings(trials: Sequence[TrialResult]) -> tuple[StageSaving, ...]:
    """What each stage cost and saved, as if each trial that ended there had otherwise gone all the way.

    Each stage after it counts with its median over the complete trials, a training that was broken off with the
    median training less what it had taken.
    """
    spent = [(trial, _stage_seconds(trial)) for trial in trials]
    measured = [stage for stage, phases in STAGES.items() if phases]
    complete = [seconds for trial, seconds in spent if trial.state == "COMPLETE" and {*measured} <= {*seconds}]
    typical_s = {stage: median(seconds[stage] for seconds in complete) for stage in measured} if complete else None
    return tuple(_saving(stage, spent, typical_s) for stage in STAGES)


def ended_in(trial: TrialResult) -> str | None:
    """The stage that gave the trial up; None where none did: it went on, failed, or the time was over."""
    if trial.state != "PRUNED" or trial.reason.startswith((OUT_OF_TIME, NO_NETWORK)):
        return None
    return next(reversed(_stage_seconds(trial)), "free")


def _stage_seconds(trial: TrialResult) -> dict[str, float]:
    """The seconds of each stage that the trial has come to, in their order."""
    found = {stage: [trial.seconds[p] for p in phases if p in trial.seconds] for stage, phases in STAGES.items()}
    return {stage: sum(seconds) for stage, seconds in found.items() if seconds}


def _saving(
    stage: str, spent: Sequence[tuple[TrialResult, dict[str, float]]], typical_s: dict[str, float] | None
) -> StageSaving:
    here = [seconds for trial, seconds in spent if ended_in(trial) == stage]
    spent_s = sum(seconds.get(stage, 0.0) for _, seconds in spent)
    if typical_s is None:
        return StageSaving(stage, len(here), spent_s, None, None)
    stages = [*STAGES]
    left = stages[stages.index(stage) + 1 :]
    device_s = len(here) * sum(typical_s[later] for later in left if later in DEVICE_STAGES)
    training_s = len(here) * typical_s[TRAINING] if TRAINING in left else 0.0
    if stage == TRAINING:
        training_s = sum(max(0.0, typical_s[TRAINING] - seconds[TRAINING]) for seconds in here)
    return StageSaving(stage, len(here), spent_s, device_s, training_s)
