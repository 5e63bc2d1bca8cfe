"""What the sampler of a large study learns from."""

from typing import Any

import optuna
import pytest
from optuna.samplers import TPESampler
from record_factories import complete

from search.strategy.sampler import build_sampler


def test_a_large_study_is_chosen_from_by_its_best_and_its_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.strategy.sampler.MAX_BEST_TRIALS", 2)
    monkeypatch.setattr("search.strategy.sampler.MAX_LATEST_TRIALS", 20)
    asked = TPESampler.sample_relative
    seen: list[float] = []

    def look(self: TPESampler, study: optuna.Study, *others: Any) -> dict[str, Any]:
        states = (optuna.trial.TrialState.COMPLETE,)
        seen[:] = [trial.value or 0 for trial in study._get_trials(deepcopy=False, states=states, use_cache=True)]
        return asked(self, study, *others)

    monkeypatch.setattr(TPESampler, "sample_relative", look)
    study = optuna.create_study(sampler=build_sampler())
    where = optuna.distributions.FloatDistribution(0, 100)
    for value in (*range(9, 50), *range(60, 80)):
        violation = float(value in (9, 11))  # both are predicted to miss the constraint
        study.add_trial(
            complete(value, params={"x": value}, distributions={"x": where}, predicted_violation=violation)
        )
    trial = study.ask()
    assert 0 <= trial.suggest_float("x", 0, 100) <= 100
    assert seen == [10, 12, *range(60, 80)]
