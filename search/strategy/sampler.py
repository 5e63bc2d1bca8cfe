"""Optuna's sampler as thrones uses it: TPE, with the predicted violation of the accuracy constraint."""

import warnings
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from search.adapters.optuna_trials import sees_only
from search.objective import Objective
from search.storage.trial_history import RecordCache
from search.storage.trial_record import predicted_violation_of
from search.strategy.ranking import objective_like, rank_predicted

MAX_BEST_TRIALS, MAX_LATEST_TRIALS = 25, 1000
"""What a large study's sampler learns from: TPE takes at most 25 trials for good ones, and old ones weigh little."""


class _Sampler(optuna.samplers.TPESampler):
    """TPE that learns from the best and the latest trials alone: of ten thousand it takes a second for each choice."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._records = RecordCache()

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        objective = objective_like(study)

        def narrowed(trials: list[FrozenTrial]) -> list[FrozenTrial]:
            return best_and_latest(trials, objective, self._records)

        return super().sample_relative(sees_only(study, narrowed), trial, search_space)


def best_and_latest(trials: list[FrozenTrial], objective: Objective, cache: RecordCache) -> list[FrozenTrial]:
    """Return the best and the latest of the trials, in their order."""
    early, latest = trials[:-MAX_LATEST_TRIALS], trials[-MAX_LATEST_TRIALS:]
    if not early:
        return latest
    ranked = rank_predicted(cache.read(trials), objective)
    best = {record.number for record in ranked[:MAX_BEST_TRIALS]}
    return [trial for trial in early if trial.number in best] + latest


def build_sampler() -> optuna.samplers.BaseSampler:
    """Return the sampler of every study. It has no seed: a resumed study must not ask for the same candidates again."""
    with warnings.catch_warnings():
        # optuna-dashboard shows only the constraints that this way writes. It does not show Optuna's new way.
        warnings.simplefilter("ignore")
        return _Sampler(
            seed=None,
            multivariate=True,
            n_startup_trials=10,
            constraints_func=lambda trial: (predicted_violation_of(trial),),
        )
