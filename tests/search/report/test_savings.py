"""What giving up early saved: seconds worked out by hand."""

from dataclasses import replace

import pytest
from handmade import trial

from search.report.early_stopping_savings import StageSaving, ended_in, savings

FULL = {"structure": 4.0, "train and convert": 100.0, "measure": 2.0}
LONGER = {"structure": 6.0, "train and convert": 140.0, "measure": 4.0}


@pytest.mark.parametrize(
    ("seconds", "stage"),
    [
        ({}, "free"),
        ({"free": 0.01}, "free"),
        ({"structure": 4.0}, "structure"),
        ({"structure": 4.0, "train and convert": 30.0}, "train and convert"),
        (FULL, "measure"),
        ({"structure": 1.0, "measure structure": 2.0, "waiting": 9.0}, "structure"),
        ({"structure": 1.0, "measure structure": 2.0, "train": 30.0}, "train and convert"),
    ],
)
def test_a_trial_ended_in_its_last_stage(seconds: dict[str, float], stage: str) -> None:
    assert ended_in(trial(0, "PRUNED", seconds=seconds)) == stage


def test_only_what_was_given_up_ended_early() -> None:
    for state in ("COMPLETE", "FAIL", "RUNNING", "WAITING"):
        assert ended_in(trial(0, state, seconds={"structure": 4.0})) is None
    assert ended_in(trial(0, "PRUNED", reason="out of time: its training would end 9 s too late", seconds=FULL)) is None
    assert ended_in(trial(0, "PRUNED", reason="no network: all 13 blocks are dropped")) is None


def test_what_a_trial_would_have_cost_from_there_on() -> None:
    given_up = [
        trial(3, "PRUNED"),
        trial(4, "PRUNED"),
        trial(5, "PRUNED", seconds={"structure": 5.0}),
        trial(6, "PRUNED", seconds={"structure": 5.0, "train and convert": 30.0}),
        trial(7, "PRUNED", seconds={"structure": 5.0, "train and convert": 500.0}),
        trial(8, "FAIL", seconds={"structure": 9.0}),
    ]
    complete = [trial(number, seconds=seconds) for number, seconds in enumerate((FULL, FULL, LONGER))]
    assert savings([*complete, *given_up]) == (
        StageSaving("free", 2, 0.0, 2 * (4.0 + 2.0), 2 * 100.0),
        StageSaving("structure", 1, 14.0 + 24.0, 2.0, 100.0),
        StageSaving("train and convert", 2, 340.0 + 530.0, 2 * 2.0, 70.0),  # the longer one saved none, not -400
        StageSaving("measure", 0, 8.0, 0.0, 0.0),
    )


def test_phases_count_as_their_stage_and_waiting_as_none() -> None:
    now = {"structure": 1.5, "measure structure": 2.5, "train": 97.0, "convert": 3.0, "measure": 2.0, "waiting": 50.0}
    given_up = [trial(1, "PRUNED"), trial(2, "PRUNED", seconds={"structure": 1.0, "measure structure": 4.0})]
    was = savings([trial(0, seconds=FULL), given_up[0], replace(given_up[1], seconds={"structure": 5.0})])
    assert savings([trial(0, seconds=now), *given_up]) == was


def test_without_a_complete_trial_nothing_is_guessed() -> None:
    free, structure, training, measure = savings([trial(0, "PRUNED"), trial(1, "PRUNED", seconds={"structure": 4.0})])
    assert free == StageSaving("free", 1, 0.0, None, None)
    assert structure == StageSaving("structure", 1, 4.0, None, None)
    assert (training.ended, measure.ended) == (0, 0)
    assert [stage.ended for stage in savings([])] == [0, 0, 0, 0]
