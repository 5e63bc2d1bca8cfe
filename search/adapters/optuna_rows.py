"""Many rows of Optuna's tables at once, where Optuna makes an object of each, or asks for each by itself.

All trials of a study are read in six SELECTs, in a tenth of the time. A trial that waits is written with its parameters
in four statements, not seventy: meanwhile the study is locked for all other workers.
"""

import json
from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timezone
from typing import Any

from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Select, func, insert, null, select

from search.adapters.optuna_trials import attributes_of, frozen_trial

_Values = defaultdict[int, dict[Any, Any]]


def read_trials(
    connection: Connection, study_id: int, only: Collection[int] = (), attributes: Collection[str] = ()
) -> list[FrozenTrial]:
    """Return the trials of a study, as Optuna gives them, by their ids; equal distributions are one object.

    `only`: those with these ids. `attributes`: state, value and these user attributes alone, without times.
    """
    trial = models.TrialModel

    def rows(*columns: Any, order: Any = None) -> Any:
        query: Select[Any] = select(*columns).join(trial) if columns[0].class_ is not trial else select(*columns)
        query = query.where(trial.study_id == study_id)
        if only:
            query = query.where(trial.trial_id.in_(only))
        if attributes and columns[0].class_ is models.TrialUserAttributeModel:
            query = query.where(models.TrialUserAttributeModel.key.in_(attributes))
        return connection.execute(query.order_by(order)).all()

    # The trials come first: one that ends meanwhile is then seen as running, not as ended without its value.
    times = (null(), null()) if attributes else (trial._datetime_start_utc, trial._datetime_complete_utc)
    trials = rows(trial.trial_id, trial.number, trial.state, *times, order=trial.trial_id)
    values: defaultdict[int, list[float]] = defaultdict(list)
    value = models.TrialValueModel
    for trial_id, stored, kind in rows(value.trial_id, value.value, value.value_type, order=value.objective):
        values[trial_id].append(value.stored_repr_to_value(stored, kind))
    users = _attributes(rows, models.TrialUserAttributeModel)
    params, distributions, systems, curves = (defaultdict[int, dict[Any, Any]](dict) for _ in range(4))
    if not attributes:
        systems = _attributes(rows, models.TrialSystemAttributeModel)
        param, known = models.TrialParamModel, dict[str, Any]()
        about_param = param.trial_id, param.param_name, param.param_value, param.distribution_json
        for trial_id, name, stored, about in rows(*about_param, order=param.param_id):
            if about not in known:
                known[about] = json_to_distribution(about)
            distributions[trial_id][name] = known[about]
            params[trial_id][name] = known[about].to_external_repr(stored)
        step = models.TrialIntermediateValueModel
        about_step = step.trial_id, step.step, step.intermediate_value, step.intermediate_value_type
        for trial_id, number, stored, kind in rows(*about_step, order=step.trial_intermediate_value_id):
            curves[trial_id][number] = step.stored_repr_to_intermediate_value(stored, kind)
    return [
        frozen_trial(
            trial_id,
            number,
            state,
            values=values.get(trial_id),
            start=_local(start),
            end=_local(end),
            params=params[trial_id],
            distributions=distributions[trial_id],
            attributes=users[trial_id],
            system_attributes=systems[trial_id],
            curve=curves[trial_id],
        )
        for trial_id, number, state, start, end in trials
    ]


def _local(stored: datetime | None) -> datetime | None:
    """Return the local time, as Optuna's trials have it, of a time in UTC, as the tables have it."""
    return stored and stored.replace(tzinfo=timezone.utc).astimezone().replace(tzinfo=None)


def _attributes(rows: Any, model: Any) -> _Values:
    found: _Values = defaultdict(dict)
    stored = rows(model.trial_id, model.key, model.value_json)
    values = json.loads(f"[{','.join(value_json for _, _, value_json in stored)}]")  # at once: a call each takes twice
    for (trial_id, key, _), value in zip(stored, values, strict=True):
        found[trial_id][key] = value
    return found


def is_bare(trial: FrozenTrial) -> bool:
    """Return True for a trial that waits with its parameters and has nothing else."""
    more = attributes_of(trial) or trial.system_attrs or trial.intermediate_values
    return trial.state is TrialState.WAITING and bool(trial.params) and not more


def write_waiting(connection: Connection, study_id: int, trial: FrozenTrial) -> tuple[int, int]:
    """Add a trial that `is_bare` to the study; return its id and its number."""
    tables: Any = models.TrialModel.__table__, models.TrialParamModel.__table__
    locked = select(models.StudyModel.study_id).where(models.StudyModel.study_id == study_id).with_for_update()
    connection.execute(locked).one()  # two trials must not count the same number of others
    others = select(func.count()).select_from(models.TrialModel).where(models.TrialModel.study_id == study_id)
    number = connection.execute(others).scalar_one()
    added = connection.execute(insert(tables[0]).values(study_id=study_id, number=number, state=trial.state))
    assert added.inserted_primary_key is not None
    trial_id: int = added.inserted_primary_key[0]
    params = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(trial.distributions[name]),
        }
        for name, value in trial.params.items()
    ]
    connection.execute(insert(tables[1]), params)
    return trial_id, number
