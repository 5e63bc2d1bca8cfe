"""What rejecting trials early has saved: seconds worked out by hand."""

import pytest
from handmade import trial

from search.evaluation import EndReason, Phase, Stage
from search.report.early_stopping_savings import StageSaving, early_stopping_savings
from search.report.results import TrialResult

FULL = {Phase.ARCHITECTURE: 4.0, Phase.TRAIN: 100.0, Phase.MEASURE: 2.0}
LONGER = {Phase.ARCHITECTURE: 6.0, Phase.TRAIN: 140.0, Phase.MEASURE: 4.0}


def bounded(number: int) -> TrialResult:
    """Return a trial that was rejected for its MACs alone."""
    return trial(number, "PRUNED", end_reason=EndReason.MAC_BOUND)


def slower(number: int, seconds: dict[Phase, float]) -> TrialResult:
    """Return a trial whose architecture was too slow."""
    return trial(number, "PRUNED", end_reason=EndReason.SLOWER_ARCHITECTURE, seconds=seconds)


def stopped(number: int, train_s: float) -> TrialResult:
    """Return a trial whose training was stopped."""
    seconds = {Phase.ARCHITECTURE: 5.0, Phase.TRAIN: train_s}
    return trial(number, "PRUNED", end_reason=EndReason.OUT_OF_REACH, seconds=seconds)


@pytest.mark.parametrize(
    ("reason", "stage"),
    [
        (EndReason.MAC_BOUND, Stage.BOUND),
        (EndReason.SLOWER_ARCHITECTURE, Stage.ARCHITECTURE),
        (EndReason.OUT_OF_REACH, Stage.TRAINING),
    ],
)
def test_the_reason_says_which_stage_rejected_a_trial(reason: EndReason, stage: Stage) -> None:
    assert trial(0, "PRUNED", end_reason=reason).pruned_at is stage


def test_only_what_was_rejected_ended_early() -> None:
    for state in ("COMPLETE", "FAIL", "RUNNING", "WAITING"):
        assert trial(0, state, seconds={Phase.ARCHITECTURE: 4.0}).pruned_at is None
    assert trial(0, "FAIL", end_reason=EndReason.OUT_OF_REACH).pruned_at is None
    for reason in (EndReason.OUT_OF_TIME, EndReason.NO_NETWORK, EndReason.DUPLICATE, EndReason.NOTHING_LEFT):
        assert trial(0, "PRUNED", end_reason=reason, seconds=FULL).pruned_at is None


def test_what_a_trial_would_have_cost_from_there_on() -> None:
    rejected = [
        bounded(3),
        bounded(4),
        slower(5, {Phase.ARCHITECTURE: 5.0}),
        stopped(6, 30.0),
        stopped(7, 500.0),
        trial(8, "FAIL", seconds={Phase.ARCHITECTURE: 9.0}),
    ]
    complete = [trial(number, seconds=seconds) for number, seconds in enumerate((FULL, FULL, LONGER))]
    assert early_stopping_savings([*complete, *rejected]) == (
        StageSaving(Stage.BOUND, 2, 0.0, 2 * (4.0 + 2.0), 2 * 100.0),
        StageSaving(Stage.ARCHITECTURE, 1, 14.0 + 24.0, 2.0, 100.0),
        StageSaving(Stage.TRAINING, 2, 340.0 + 530.0, 2 * 2.0, 70.0),  # the longer one saved none, not -400
        StageSaving(Stage.MEASUREMENT, 0, 8.0, 0.0, 0.0),
    )


def test_phases_count_as_their_stage_and_waiting_as_none() -> None:
    phases = {
        Phase.ARCHITECTURE: 1.5,
        Phase.MEASURE_ARCHITECTURE: 2.5,
        Phase.TRAIN: 97.0,
        Phase.CONVERT: 3.0,
        Phase.MEASURE: 2.0,
        Phase.WAITING: 50.0,
    }
    whole = slower(2, {Phase.ARCHITECTURE: 5.0})
    in_phases = slower(2, {Phase.ARCHITECTURE: 1.0, Phase.MEASURE_ARCHITECTURE: 4.0})
    expected = early_stopping_savings([trial(0, seconds=FULL), bounded(1), whole])
    assert early_stopping_savings([trial(0, seconds=phases), bounded(1), in_phases]) == expected


def test_without_a_complete_trial_nothing_is_guessed() -> None:
    rejected = [bounded(0), slower(1, {Phase.ARCHITECTURE: 4.0})]
    bound, architecture, training, measure = early_stopping_savings(rejected)
    assert bound == StageSaving(Stage.BOUND, 1, 0.0, None, None)
    assert architecture == StageSaving(Stage.ARCHITECTURE, 1, 4.0, None, None)
    assert (training.ended, measure.ended) == (0, 0)
    assert [stage.ended for stage in early_stopping_savings([])] == [0, 0, 0, 0]
