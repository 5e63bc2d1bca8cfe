"""All trials of a study, read again and again."""

from dataclasses import replace

import optuna
import pytest
from record_factories import complete, pruned, records, waiting

from compress.spec import CompressionSpec
from search.evaluation import EndReason
from search.storage.trial_history import TrialHistory, trained_specs
from search.storage.trial_record import TrialRecord, read_trial, read_trials, record_worker

PARENT = CompressionSpec((0.25,) * 14, epochs=4)
SPEC = replace(PARENT, pruning_ratios=(0.5,) * 14, parent=PARENT)


def test_what_has_ended_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def spy(trial: optuna.trial.FrozenTrial) -> TrialRecord:
        read.append(trial.number)
        return read_trial(trial)

    monkeypatch.setattr("search.storage.trial_history.read_trial", spy)
    study = optuna.create_study()
    study.add_trial(complete(1.0))
    running = study.ask()
    history = TrialHistory(study)
    assert history.records() == history.records() == read_trials(study)
    record_worker(running, "pi:8")
    assert history.records()[1].worker == "pi:8"
    study.tell(running, 2.0)
    assert history.records() == history.records() == read_trials(study)
    assert (read.count(0), read.count(1)) == (1, 4)


def test_only_what_was_trained_to_its_end_is_a_parent() -> None:
    known = records(
        complete(1.0, spec=SPEC),
        pruned(EndReason.OUT_OF_REACH, spec=PARENT, curve=[20.0]),
        complete(1.0),
        waiting(spec=SPEC),
    )
    assert trained_specs(known) == [SPEC]
