"""Trials and studies made up for tests, written through the code that writes real ones.

No other file of the tests knows the names under which thrones stores its attributes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from hashlib import sha256
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from compress.spec import CompressionSpec
from edge.measuring.measurement import Environment, Measurement, Window
from edge.measuring.plan import PLANS
from search.adapters.optuna_trials import database_of
from search.evaluation import Accuracy, ArchitectureResult, EndReason, Evaluation, PhaseTime, Rejection
from search.storage.trial_record import (
    WEIGHTS,
    Refinement,
    TrialRecord,
    failure_attributes,
    read_trial,
    record_architecture,
    record_architecture_windows,
    record_evaluation,
    record_failure,
    record_phases,
    record_rejection,
    record_spec,
    record_worker,
    refinement_attributes,
    retry_attributes,
)

ENVIRONMENT = Environment(
    host="secret-machine",
    machine="x86_64",
    cpu="A CPU @ 2.0 GHz",
    cores=2,
    os="Debian GNU/Linux 12",
    python="3.12.1",
    runtime="ai-edge-litert 2.3.0",
    delegate="XNNPACK",
    governor=None,
    clock_mhz=None,
    temperature_c=None,
    throttled=None,
)
MODEL = b"a model"
ACCURACY = Accuracy(validation_percent=72.1, search_percent=72.0, decision_percent=72.2)
EVALUATION_FIELDS = {field.name for field in fields(Evaluation)}


class Attributes(dict[str, Any]):
    """Takes what is written into a trial, as JSON gives it back."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep an attribute."""
        self[key] = json.loads(json.dumps(value))


def measured(latency_ms: float = 1.0, model: bytes = MODEL, plan: str = "search", **changes: Any) -> Measurement:
    """Return a measurement of one window of 1,000 images, with an assumed power of 4.8 W."""
    window = Window(
        start_s=0.0,
        end_s=max(10.0, 2 * latency_ms),
        images=1000,
        invoke_s=latency_ms,
        p50_ms=latency_ms,
        p90_ms=latency_ms * 1.1,
        power_w=4.8,
        max_power_w=4.8,
    )
    values: dict[str, Any] = {
        "sha256": sha256(model).hexdigest(),
        "model_bytes": len(model),
        "plan": PLANS[plan],
        "windows": (window,),
        "peak_memory_mb": 48.0,
        "memory_growth_mb": 1.0,
        "load_ms": 1.0,
        "environment": ENVIRONMENT,
        "device": "ssh://anna@pi.example",
        "meter": "estimate://4.8W",
        "estimated": True,
    }
    return Measurement(**{**values, **changes})


def evaluation(value: float = 1.0, **changes: Any) -> Evaluation:
    """Return an evaluation that meets the constraint by a point; what is predicted is what was reached."""
    model = changes.get("model", MODEL)
    values: dict[str, Any] = {
        "value": value,
        "model": model,
        "operators": {},
        "accuracy": ACCURACY,
        "measurement": measured(value, model),
        "constraint_violation": -1.0,
        "predicted_violation": changes.get("constraint_violation", -1.0),
    }
    return Evaluation(**{**values, **changes})


def architecture(best_case: float = 1.0, *, macs: int = 220_000, advantage: float | None = None) -> ArchitectureResult:
    """Return the speed of an untrained architecture."""
    return ArchitectureResult(macs, best_case, (measured(best_case, b"untrained"),), advantage)


def trial_attributes(
    *,
    spec: CompressionSpec | None = None,
    worker: str | None = None,
    architecture: ArchitectureResult | None = None,
    evaluation: Evaluation | None = None,
    artifacts: Mapping[str, str] | None = None,
    weights_key: str = "",
    rejection: Rejection | None = None,
    failure: tuple[EndReason, str] | None = None,
    retried: bool = False,
    retry_of: int | None = None,
    refinement: Refinement | None = None,
    phases: Sequence[PhaseTime] = (),
) -> dict[str, Any]:
    """Return the user attributes of a trial with these facts, as thrones stores them.

    `retried` without a failure: another process ended the trial.
    """
    written = Attributes()
    trial = cast(optuna.Trial, written)
    if worker is not None:
        record_worker(trial, worker)
    if spec is not None:
        record_spec(trial, spec)
    record_phases(trial, phases)
    if architecture is not None:
        record_architecture(trial, architecture)
        if evaluation is None:  # a trained model has windows of its own
            record_architecture_windows(trial, architecture)
    if evaluation is not None:
        record_evaluation(trial, evaluation, artifacts or {}, weights_key)
    if rejection is not None:
        record_rejection(trial, rejection)
    if failure is not None:
        record_failure(trial, *failure, retried=retried)
    elif retried:
        written.update(failure_attributes(EndReason.INTERRUPTED, retried=True))
    if refinement is not None:
        written.update(refinement_attributes(refinement.of, refinement.quantization))
    if retry_of is not None:
        written.update(retry_attributes(_numbered(retry_of), counts=True))
    return dict(written)


def _numbered(number: int) -> TrialRecord:
    return TrialRecord(number, TrialState.FAIL, None, {}, {})


def trial(
    state: TrialState,
    *,
    params: Mapping[str, Any] | None = None,
    distributions: Mapping[str, BaseDistribution] | None = None,
    curve: Sequence[float] = (),
    **facts: Any,
) -> FrozenTrial:
    """Return a trial that a study takes; `facts`: see `trial_attributes`."""
    found = facts.get("evaluation")
    return optuna.create_trial(
        state=state,
        value=found.value if state is TrialState.COMPLETE and found is not None else None,
        user_attrs=trial_attributes(**facts),
        params=dict(params or {}),
        distributions=dict(distributions or {}),
        intermediate_values=dict(enumerate(curve, 1)),
    )


def complete(value: float, **facts: Any) -> FrozenTrial:
    """Return a complete trial; `facts`: those of `trial`, and the fields of an `Evaluation`."""
    found = {name: facts.pop(name) for name in EVALUATION_FIELDS & facts.keys()}
    return trial(TrialState.COMPLETE, evaluation=evaluation(value, **found), **facts)


def pruned(
    reason: EndReason, message: str = "", *, predicted_violation: float | None = None, **facts: Any
) -> FrozenTrial:
    """Return a trial whose candidate was given up; `facts`: those of `trial`."""
    return trial(TrialState.PRUNED, rejection=Rejection(reason, message, predicted_violation), **facts)


def failed(reason: EndReason, message: str = "", **facts: Any) -> FrozenTrial:
    """Return a trial that a fault ended; `facts`: those of `trial`."""
    return trial(TrialState.FAIL, failure=(reason, message), **facts)


def waiting(**facts: Any) -> FrozenTrial:
    """Return a trial that waits for a worker; `facts`: those of `trial`."""
    return trial(TrialState.WAITING, **facts)


def records(*trials: FrozenTrial) -> list[TrialRecord]:
    """Return the records of trials that are numbered from 0."""
    found = []
    for number, each in enumerate(trials):
        each.number = number
        found.append(read_trial(each))
    return found


def study_of(*trials: FrozenTrial, **options: Any) -> optuna.Study:
    """Return a study in memory with these trials; `options`: those of `optuna.create_study`."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(**options)
    study.add_trials(trials)
    return study


def begin_as_version_1(study: optuna.Study) -> None:
    """Write what the former schema wrote when a study was begun."""
    study.set_user_attr("identity", {"base": "0123456789abcdef"})


def forget_place(study: optuna.Study) -> None:
    """Remove from a stored study where its artifacts are, as if nobody had written it."""
    _execute(study, "DELETE FROM study_user_attributes WHERE key = 'artifacts'")


def forget_weights(study: optuna.Study) -> None:
    """Remove the weights from the artifacts of all trials of a stored study, as if they had been too large."""
    for trial in study.get_trials():
        kept = {name: artifact for name, artifact in read_trial(trial).artifacts.items() if name != WEIGHTS}
        statement = "UPDATE trial_user_attributes SET value_json = :kept WHERE key = 'artifacts' AND trial_id = :trial"
        _execute(study, statement, kept=json.dumps(kept), trial=trial._trial_id)
    _execute(study, "DELETE FROM trial_user_attributes WHERE key = 'weights_key'")


def _execute(study: optuna.Study, statement: str, **values: Any) -> None:
    with database_of(study).engine.begin() as connection:
        connection.execute(text(statement), values)
