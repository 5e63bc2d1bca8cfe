"""What giving up trials early has saved, stage by stage: an estimate from what the complete trials cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from search.results import TrialResult
from search.storage import OUT_OF_TIME

STAGES = ("free", "structure", "train and convert", "measure")
"""A trial's way. All but "free" are keys of its seconds; what has none of them was given up on its MACs alone."""
DEVICE_STAGES = ("structure", "measure")
TRAINING = "train and convert"


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
    complete = [trial.seconds for trial in trials if trial.state == "COMPLETE" and {*STAGES[1:]} <= {*trial.seconds}]
    typical_s = {stage: median(seconds[stage] for seconds in complete) for stage in STAGES[1:]} if complete else None
    return tuple(_saving(stage, trials, typical_s) for stage in STAGES)


def ended_in(trial: TrialResult) -> str | None:
    """The stage that gave the trial up; None where none did: it went on, failed, or the time was over."""
    if trial.state != "PRUNED" or trial.spec is None or trial.reason.startswith(OUT_OF_TIME):
        return None
    return next((stage for stage in reversed(STAGES) if stage in trial.seconds), STAGES[0])


def _saving(stage: str, trials: Sequence[TrialResult], typical_s: dict[str, float] | None) -> StageSaving:
    here = [trial.seconds for trial in trials if ended_in(trial) == stage]
    spent_s = sum(trial.seconds.get(stage, 0.0) for trial in trials)
    if typical_s is None:
        return StageSaving(stage, len(here), spent_s, None, None)
    left = STAGES[STAGES.index(stage) + 1 :]
    device_s = len(here) * sum(typical_s[later] for later in left if later in DEVICE_STAGES)
    training_s = len(here) * typical_s[TRAINING] if TRAINING in left else 0.0
    if stage == TRAINING:
        training_s = sum(max(0.0, typical_s[TRAINING] - seconds[TRAINING]) for seconds in here)
    return StageSaving(stage, len(here), spent_s, device_s, training_s)
