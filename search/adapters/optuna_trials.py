"""Optuna's studies and trials: their attributes, and what its public API has no call for."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import optuna
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

CONSTRAINTS = "constraints"
"""The system attribute in which samplers and optuna-dashboard look for a trial's constraints."""


def attributes_of(owner: optuna.Study | optuna.Trial | FrozenTrial) -> Mapping[str, Any]:
    """Return the user attributes of a study or a trial."""
    return owner.user_attrs


def write_attribute(owner: optuna.Study | optuna.Trial, key: str, value: Any) -> None:
    """Write one user attribute of a study or a running trial; `value` must be JSON."""
    owner.set_user_attr(key, value)


def enqueue(study: optuna.Study, params: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Enqueue a trial with these parameters and user attributes."""
    study.enqueue_trial(dict(params), user_attrs=dict(attributes))


def enqueued_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters with which a trial was enqueued, and those that it has chosen besides."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def fail_trial(study: optuna.Study, number: int, attributes: Mapping[str, Any]) -> None:
    """End a trial that another process has begun; do nothing where it has ended meanwhile."""
    storage = study._storage
    trial_id = study.get_trials(deepcopy=False)[number]._trial_id
    with suppress(UpdateFinishedTrialError):
        for key, value in attributes.items():
            storage.set_trial_user_attr(trial_id, key, value)
        storage.set_trial_state_values(trial_id, TrialState.FAIL)


def was_ended_elsewhere(error: BaseException) -> bool:
    """Return True for the error of a trial that another process has ended while this one ran it.

    Writing to such a trial raises UpdateFinishedTrialError; `study.tell` raises a ValueError with no class of its own.
    """
    return isinstance(error, UpdateFinishedTrialError) or str(error).startswith("Cannot tell a ")


def sees_only(study: optuna.Study, choose: Callable[[list[FrozenTrial]], list[FrozenTrial]]) -> optuna.Study:
    """Return a copy of the study in which samplers see the trials that `choose` leaves of all."""
    narrowed = copy.copy(study)

    def get_trials(**options: Any) -> list[FrozenTrial]:
        return choose(study._get_trials(**options))

    narrowed._get_trials = get_trials  # type: ignore[method-assign,assignment]  # samplers look there
    return narrowed


def database_of(study: optuna.Study) -> Any:
    """Return the storage below Optuna's cache, or None where there is none."""
    return getattr(study._storage, "_backend", None)


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage of a study."""
    return study._storage


def id_of(owner: optuna.Study | FrozenTrial) -> int:
    """Return the id of a study or a trial in its storage."""
    return owner._study_id if isinstance(owner, optuna.Study) else owner._trial_id


def with_constraint(trial: FrozenTrial, violation: float) -> FrozenTrial:
    """Return a copy of the trial with this as its only constraint; 0 or less is feasible."""
    shown = copy.copy(trial)  # the storage shares the original
    shown.system_attrs = {**trial.system_attrs, CONSTRAINTS: [violation]}
    return shown


def artifact_entries(study: optuna.Study) -> list[str]:
    """Return Optuna's own JSON entry of every artifact of a study and its trials."""
    attributes = [study._storage.get_study_system_attrs(study._study_id)]
    attributes += [trial.system_attrs for trial in study.get_trials(deepcopy=False)]
    return [
        value
        for each in attributes
        for key, value in each.items()
        if key.startswith(ARTIFACTS_ATTR_PREFIX)
    ]


def frozen_trial(
    trial_id: int,
    number: int,
    state: TrialState,
    *,
    values: list[float] | None,
    start: datetime | None,
    end: datetime | None,
    params: dict[str, Any],
    distributions: dict[str, BaseDistribution],
    attributes: dict[str, Any],
    system_attributes: dict[str, Any],
    curve: dict[int, float],
) -> FrozenTrial:
    """Return a trial as Optuna's storages return it.

    Args:
        trial_id: The id in the storage.
        number: The number in the study.
        state: The state of the trial.
        values: The objective's value, or None.
        start: The local time when it began, or None.
        end: The local time when it ended, or None.
        params: The parameters by name.
        distributions: The distributions of the parameters.
        attributes: The user attributes.
        system_attributes: Optuna's own attributes.
        curve: The intermediate values by step.
    """
    return FrozenTrial(
        number=number,
        state=state,
        value=None,
        values=values,
        datetime_start=start,
        datetime_complete=end,
        params=params,
        distributions=distributions,
        user_attrs=attributes,
        system_attrs=system_attributes,
        intermediate_values=curve,
        trial_id=trial_id,
    )


def copy_study(
    study: optuna.Study,
    target: BaseStorage,
    attributes: Mapping[str, Any],
    rename: Callable[[str, Mapping[int, int]], str],
) -> None:
    """Copy a study with its trials into another storage.

    Unlike `optuna.copy_study` the keys of the study's system attributes pass through `rename(key, ids)`, where `ids`
    maps the trials' old ids to the new ones: optuna-dashboard has trial ids in keys.

    Args:
        study: The study to copy.
        target: The storage that gets the copy.
        attributes: User attributes that replace those of the study.
        rename: Returns the key under which a system attribute is copied.
    """
    copied = optuna.create_study(study_name=study.study_name, storage=target, directions=study.directions)
    ids: dict[int, int] = {}
    for trial in study.get_trials(deepcopy=False):
        ids[trial._trial_id] = copied._storage.create_new_trial(copied._study_id, template_trial=trial)
    for key, value in study._storage.get_study_system_attrs(study._study_id).items():
        copied._storage.set_study_system_attr(copied._study_id, rename(key, ids), value)
    for key, value in {**study.user_attrs, **attributes}.items():
        copied.set_user_attr(key, value)


def running_trials(study: optuna.Study) -> Sequence[FrozenTrial]:
    """Return the trials that are running."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
