"""A trial as thrones reads and writes it: the only code that knows its attributes."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState

from compress.spec import CompressionSpec
from edge.measuring.measurement import Measurement
from search.adapters.optuna_trials import attributes_of, enqueued_params, write_attribute
from search.evaluation import (
    Accuracy,
    ArchitectureResult,
    EndReason,
    Evaluation,
    Phase,
    PhaseTime,
    Rejection,
    Stage,
)

SUMMARY = ("outcome", "architecture", "evaluation", "phases", "refinement", "retried", "retry_of")
"""The attributes that counts, ranking and savings need; the others are large."""
Result = TypeVar("Result")
MODEL, WINDOWS, WEIGHTS = "model.tflite", "windows.json", "weights.npz"
"""The artifacts of a trial: the measured bytes, the raw windows, the trained weights."""


@dataclass(frozen=True)
class ArchitectureRecord:
    """The stored part of an `ArchitectureResult`; `device` is the URL of the one that measured it."""

    macs: int
    best_case: float
    device: str
    advantage: float | None = None


@dataclass(frozen=True)
class EvaluationRecord:
    """The stored part of an `Evaluation`."""

    sha256: str
    model_bytes: int
    operators: dict[str, int]
    accuracy: Accuracy
    constraint_violation: float
    test_accuracy_percent: float | None = None


@dataclass(frozen=True)
class Refinement:
    """The final training of a candidate: the number of its trial, and another quantization to try, if any."""

    of: int
    quantization: str | None = None


@dataclass(frozen=True)
class TrialRecord:
    """One trial, in whatever state it is.

    `value` is None unless the trial is complete: Optuna gives a pruned one its last accuracy. `curve` is the accuracy
    in percent after each epoch. `enqueued` are the parameters that the trial was given or has chosen. `worker` is
    host:pid. `retried`: the candidate was enqueued once more, so this trial does not count. `artifacts`: file name to
    id in the artifact store. `weights_key`: a hash of what the stored weights depend on besides the spec.
    """

    number: int
    state: TrialState
    value: float | None
    params: Mapping[str, Any]
    enqueued: Mapping[str, Any]
    curve: tuple[float, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    worker: str | None = None
    spec: CompressionSpec | None = None
    architecture: ArchitectureRecord | None = None
    evaluation: EvaluationRecord | None = None
    end_reason: EndReason | None = None
    message: str = ""
    predicted_violation: float | None = None
    phases: tuple[PhaseTime, ...] = ()
    retried: bool = False
    retry_of: int | None = None
    refinement: Refinement | None = None
    artifacts: Mapping[str, str] = field(default_factory=dict)
    weights_key: str | None = None
    raw_measurement: Mapping[str, Any] | None = field(default=None, repr=False)
    raw_architecture_measurement: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def is_complete(self) -> bool:
        """Return True for a trial with a value."""
        return self.state is TrialState.COMPLETE

    @property
    def is_refinement(self) -> bool:
        """Return True for the final training of a candidate of the search."""
        return self.refinement is not None

    @property
    def is_feasible(self) -> bool:
        """Return True for a complete trial that meets the accuracy constraint."""
        return self.is_complete and self.evaluation is not None and self.evaluation.constraint_violation <= 0

    @property
    def is_predicted_feasible(self) -> bool:
        """Return True for a complete trial that is predicted to meet the constraint after the final training."""
        return self.is_complete and self.predicted_violation is not None and self.predicted_violation <= 0

    @property
    def pruned_at(self) -> Stage | None:
        """Return the stage that rejected the candidate; None where none did."""
        if self.state is not TrialState.PRUNED or self.end_reason is None:
            return None
        return self.end_reason.stage

    @cached_property
    def speed_key(self) -> str | None:
        """Return `speed_key` of the spec; None for a trial without one."""
        return _optional(speed_key, self.spec)

    @cached_property
    def measurement(self) -> Measurement | None:
        """Return the measurement of the trained model with all its windows."""
        return _optional(Measurement.from_dict, self.raw_measurement)

    @cached_property
    def architecture_measurement(self) -> Measurement | None:
        """Return the measurement of the untrained architecture with all its windows."""
        return _optional(Measurement.from_dict, self.raw_architecture_measurement)


def speed_key(spec: CompressionSpec) -> str:
    """Return a text of all that the speed of a candidate depends on."""
    return f"{spec.architecture()} {spec.quantization} {spec.threads}"


def read_trial(trial: FrozenTrial) -> TrialRecord:
    """Return the record of a trial."""
    stored = attributes_of(trial)
    outcome = stored.get("outcome", {})
    return TrialRecord(
        number=trial.number,
        state=trial.state,
        value=trial.value if trial.state is TrialState.COMPLETE else None,
        params=trial.params,
        enqueued=enqueued_params(trial),
        curve=tuple(trial.intermediate_values[step] for step in sorted(trial.intermediate_values)),
        start=trial.datetime_start,
        end=trial.datetime_complete,
        worker=stored.get("worker"),
        spec=_optional(CompressionSpec.from_dict, stored.get("spec")),
        architecture=_optional(lambda raw: ArchitectureRecord(**raw), stored.get("architecture")),
        evaluation=_optional(_read_evaluation, stored.get("evaluation")),
        end_reason=_optional(EndReason, outcome.get("end_reason")),
        message=outcome.get("message", ""),
        predicted_violation=outcome.get("predicted_violation"),
        phases=tuple(_read_phase(*each) for each in stored.get("phases", ())),
        retried="retried" in stored,
        retry_of=stored.get("retry_of"),
        refinement=_optional(lambda raw: Refinement(**raw), stored.get("refinement")),
        artifacts=stored.get("artifacts", {}),
        weights_key=stored.get("weights_key"),
        raw_measurement=stored.get("measurement"),
        raw_architecture_measurement=stored.get("architecture_measurement"),
    )


def read_trials(study: optuna.Study) -> list[TrialRecord]:
    """Return the records of all trials of a study, in the order of their numbers."""
    return [read_trial(trial) for trial in study.get_trials(deepcopy=False)]


def predicted_violation_of(trial: FrozenTrial) -> float:
    """Return what the sampler learns from as the constraint of a trial; 0 where nothing is known."""
    predicted = attributes_of(trial).get("outcome", {}).get("predicted_violation")
    return 0.0 if predicted is None else float(predicted)


def _optional(read: Callable[[Any], Result], stored: Any) -> Result | None:
    """Return what `read` makes of a stored value; None where nothing is stored."""
    return None if stored is None else read(stored)


def _read_phase(name: str, start_s: float, seconds: float) -> PhaseTime:
    return PhaseTime(Phase(name), start_s, seconds)


def _read_evaluation(stored: Mapping[str, Any]) -> EvaluationRecord:
    return EvaluationRecord(**{**stored, "accuracy": Accuracy(**stored["accuracy"])})


def record_worker(trial: optuna.Trial, worker: str) -> None:
    """Write who runs the trial: host:pid."""
    write_attribute(trial, "worker", worker)


def record_spec(trial: optuna.Trial, spec: CompressionSpec) -> None:
    """Write what the trial tries. Other workers read it while the trial runs, so that none tries the same."""
    write_attribute(trial, "spec", spec.to_dict())


def record_phases(trial: optuna.Trial, phases: Iterable[PhaseTime]) -> None:
    """Write where the time of the trial went."""
    stored = [(str(each.phase), each.start_s, each.seconds) for each in phases]
    if stored:
        write_attribute(trial, "phases", stored)


def record_architecture(trial: optuna.Trial, found: ArchitectureResult) -> None:
    """Write the speed of the untrained architecture."""
    record = ArchitectureRecord(found.macs, found.best_case, found.measurement.device, found.advantage)
    write_attribute(trial, "architecture", vars(record))


def record_architecture_windows(trial: optuna.Trial, found: ArchitectureResult) -> None:
    """Write the windows of the untrained architecture, for a trial that has no others."""
    write_attribute(trial, "architecture_measurement", _raw(found.measurement))


def record_evaluation(trial: optuna.Trial, found: Evaluation, artifacts: Mapping[str, str], weights_key: str) -> None:
    """Write the whole result of a trial that has a value.

    Args:
        trial: The running trial.
        found: What the pipeline returned.
        artifacts: File name to id in the artifact store.
        weights_key: A hash of what the stored weights depend on besides the spec.
    """
    record = EvaluationRecord(
        sha256=sha256(found.model).hexdigest(),
        model_bytes=len(found.model),
        operators=dict(found.operators),
        accuracy=found.accuracy,
        constraint_violation=found.constraint_violation,
        test_accuracy_percent=found.test_accuracy_percent,
    )
    write_attribute(trial, "measurement", _raw(found.measurement))
    write_attribute(trial, "evaluation", {**vars(record), "accuracy": vars(found.accuracy)})
    write_attribute(trial, "artifacts", dict(artifacts))
    if WEIGHTS in artifacts:
        write_attribute(trial, "weights_key", weights_key)
    write_attribute(trial, "outcome", {"predicted_violation": found.predicted_violation})


def record_rejection(trial: optuna.Trial, found: Rejection) -> None:
    """Write why a candidate was given up."""
    write_attribute(trial, "outcome", _outcome(found.reason, found.message, found.predicted_violation))


def record_failure(trial: optuna.Trial, reason: EndReason, message: str, *, retried: bool) -> None:
    """Write why a trial failed, and whether its candidate was enqueued once more."""
    write_attribute(trial, "outcome", _outcome(reason, message, None))
    if retried:
        write_attribute(trial, "retried", True)


def failure_attributes(reason: EndReason, *, retried: bool) -> dict[str, Any]:
    """Return what `record_failure` writes, for a trial of another process."""
    attributes: dict[str, Any] = {"outcome": _outcome(reason, str(reason), None)}
    if retried:
        attributes["retried"] = True
    return attributes


def retry_attributes(record: TrialRecord, *, counts: bool) -> dict[str, Any]:
    """Return the attributes of a retry of a trial's candidate; with `counts` it is not retried again."""
    attributes: dict[str, Any] = {}
    if record.refinement is not None:
        attributes["refinement"] = vars(record.refinement)
    if counts:
        attributes["retry_of"] = record.number
    elif record.retry_of is not None:
        attributes["retry_of"] = record.retry_of
    return attributes


def refinement_attributes(of: int, quantization: str | None = None) -> dict[str, Any]:
    """Return the attributes with which the final training of a trial's candidate is enqueued."""
    return {"refinement": vars(Refinement(of, quantization))}


def _raw(measurement: Measurement) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(measurement.to_json())
    return raw


def _outcome(reason: EndReason, message: str, predicted_violation: float | None) -> dict[str, Any]:
    return {"end_reason": str(reason), "message": message, "predicted_violation": predicted_violation}
