"""A study's storage as the dashboard shows it."""

import copy
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from search.adapters.optuna_trials import storage_of, with_constraint
from search.storage.study_record import record_of
from search.storage.trial_history import RecordCache
from search.storage.trial_record import TrialRecord
from search.strategy.ranking import best_trial, objective_like


@BaseStorage.register
class DashboardStorageView:
    """A storage where infeasible means to miss the accuracy constraint, and the best meets it.

    The constraint in the storage is another one: TPE learns from the violation that is predicted
    after the final training. Optuna's best trial ignores constraints, and its value of a pruned
    trial is the last accuracy.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._storage = storage_of(study)
        self._records = RecordCache()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(self, study_id: int, *args: Any, **options: Any) -> list[FrozenTrial]:
        """Return the trials of the storage, with the accuracy constraint as theirs."""
        return self._with_accuracy_constraint(
            self._storage.get_all_trials(study_id, *args, **options)
        )

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the best trial that meets the constraint; while none does, the nearest to it."""
        name = self._storage.get_study_name_from_id(study_id)
        study = optuna.load_study(study_name=name, storage=self._storage)
        trials = study.get_trials(deepcopy=False)
        records = self._records.read(trials)
        best = best_trial(records, objective_like(study), record_of(study).remeasured)
        if best is None:
            complete = [record for record in records if record.is_complete]
            best = min(complete, key=_violation)
        return self._with_accuracy_constraint([trials[best.number]])[0]

    def _with_accuracy_constraint(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        shown = []
        for trial, record in zip(trials, self._records.read(trials), strict=True):
            if trial.state is TrialState.COMPLETE:
                trial = with_constraint(trial, _violation(record))
            elif trial.state is TrialState.PRUNED:
                trial = copy.copy(trial)  # the storage shares the original
                trial.values = None
            shown.append(trial)
        return shown


def _violation(record: TrialRecord) -> float:
    if record.evaluation is None:
        return 0.0
    return record.evaluation.constraint_violation
