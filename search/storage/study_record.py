"""A study as thrones reads and writes it: the only code that knows its attributes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import optuna

from compress.errors import UsageError
from edge.measuring.measurement import Measurement
from search.adapters.optuna_trials import attributes_of, write_attribute

SCHEMA_VERSION = 2
"""Of the attributes of a study and of its trials. Version 1 is that of thrones 0.1, which wrote no number."""


@dataclass(frozen=True)
class StudyFacts:
    """What tables and reports say of a study.

    `constraint_percent` is the least test accuracy, `required_percent` that with its margin on the validation images.
    `decision_images` are the validation images that decide whether the constraint is met. `tie_tolerance`: candidates
    within this share of the best value count as equal. `environment`: see `edge.measuring.measurement.Environment`.
    """

    data: str = ""
    data_source: str = ""
    constraint_percent: float = 0.0
    required_percent: float = 0.0
    decision_images: int = 0
    test_images: int = 0
    tie_tolerance: float = 0.0
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where the artifacts are: a folder of a host or a bucket (host None), and an artifact by which it is known."""

    place: str
    host: str | None
    probe: str


@dataclass(frozen=True)
class ComparedModel:
    """A model of the final comparison, with its accuracy on all test images."""

    measurement: Measurement
    test_accuracy_percent: float


@dataclass(frozen=True)
class FinalComparison:
    """What decides at the end of a search: the base and the shortlist, measured in turns.

    `trial` is the number of the best candidate, None where there is none. `values`: the objective's value of each
    candidate on the shortlist, by the number of its trial.
    """

    trial: int | None
    base: ComparedModel
    best: ComparedModel | None
    values: Mapping[int, float]


@dataclass(frozen=True)
class StudyRecord:
    """A study that was begun. `deadline_s`: seconds since 1970 when its budget ends.

    `fingerprint` is what all trials have in common; a study is not continued with another one. `version` is that of
    the thrones that runs it.
    """

    fingerprint: Mapping[str, Any]
    facts: StudyFacts = StudyFacts()
    version: str = ""
    deadline_s: float = 0.0
    artifacts: Place | None = None
    final_comparison: FinalComparison | None = None

    @property
    def remeasured(self) -> Mapping[int, float]:
        """Return the values of the final comparison by the number of the trial; empty before it."""
        return {} if self.final_comparison is None else self.final_comparison.values

    @property
    def base_key(self) -> str | None:
        """Return the hash of the unpruned network's weights."""
        return self.fingerprint.get("base")


def read_study(study: optuna.Study) -> StudyRecord | None:
    """Return the record of a study; None for one that nobody has begun.

    Raises UsageError for a study of another schema.
    """
    check_schema(study)
    stored = attributes_of(study)
    if "fingerprint" not in stored:
        return None
    place = stored.get("artifacts")
    comparison = stored.get("final_comparison")
    return StudyRecord(
        fingerprint=stored["fingerprint"],
        facts=StudyFacts(**stored["facts"]),
        version=stored.get("version", ""),
        deadline_s=stored.get("deadline_s", 0.0),
        artifacts=None if place is None else Place(**place),
        final_comparison=None if comparison is None else _read_comparison(comparison),
    )


def check_schema(study: optuna.Study) -> None:
    """Raise UsageError for a study that a thrones of another schema has begun."""
    stored = attributes_of(study)
    has_begun = "fingerprint" in stored or "identity" in stored
    schema = stored.get("schema_version", 1)
    if has_begun and schema != SCHEMA_VERSION:
        raise UsageError(
            f"study {study.study_name!r} has schema {schema}, this thrones reads schema {SCHEMA_VERSION}",
            remedy="rename the study file to start anew, or use the thrones that wrote it",
        )


def record_of(study: optuna.Study) -> StudyRecord:
    """Return the record of a study, an empty one where nobody has begun it. Raises UsageError as `read_study`."""
    return read_study(study) or StudyRecord(fingerprint={})


def record_beginning(study: optuna.Study, fingerprint: Mapping[str, Any], facts: StudyFacts) -> None:
    """Write what never changes while the study lives."""
    write_attribute(study, "schema_version", SCHEMA_VERSION)
    write_attribute(study, "facts", {each.name: getattr(facts, each.name) for each in fields(facts)})
    write_attribute(study, "fingerprint", dict(fingerprint))  # last: with it the study has begun


def record_run(study: optuna.Study, version: str, deadline_s: float) -> None:
    """Write which thrones runs the study, and when its budget ends, in seconds since 1970."""
    write_attribute(study, "version", version)
    write_attribute(study, "deadline_s", deadline_s)


def record_place(study: optuna.Study, place: Place) -> None:
    """Write where the artifacts of the study are."""
    write_attribute(study, "artifacts", vars(place))


def place_attributes(place: Place) -> dict[str, Any]:
    """Return what `record_place` writes, for a copy of a study."""
    return {"artifacts": vars(place)}


def record_comparison(study: optuna.Study, found: FinalComparison) -> None:
    """Write what the final comparison found."""
    stored = {
        "trial": found.trial,
        "base": _stored_model(found.base),
        "best": None if found.best is None else _stored_model(found.best),
        "values": {str(number): value for number, value in found.values.items()},
    }
    write_attribute(study, "final_comparison", stored)


def _stored_model(model: ComparedModel) -> dict[str, Any]:
    return {
        "measurement": json.loads(model.measurement.to_json()),
        "test_accuracy_percent": model.test_accuracy_percent,
    }


def _read_comparison(stored: Mapping[str, Any]) -> FinalComparison:
    return FinalComparison(
        trial=stored["trial"],
        base=_read_model(stored["base"]),
        best=None if stored["best"] is None else _read_model(stored["best"]),
        values={int(number): value for number, value in stored["values"].items()},
    )


def _read_model(stored: Mapping[str, Any]) -> ComparedModel:
    return ComparedModel(Measurement.from_dict(stored["measurement"]), stored["test_accuracy_percent"])
