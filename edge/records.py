"""Frozen records from and to JSON, strictly: an unknown key, a missing one or a bad value is an error."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TypeVar

from edge.errors import (
    InvalidMeasurementError,
    ModelError,
    ThronesError,
    UnavailableError,
    UsageError,
    one_line,
)

_T = TypeVar("_T")


def check_number(key: str, value: object, *, positive: bool) -> None:
    """Raise UsageError unless `value` is a finite number, >= 0 or > 0."""
    limit = "> 0" if positive else ">= 0"
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise UsageError(f"{key} must be a number, got {value!r}")
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise UsageError(f"{key} must be {limit} and finite, got {value}")


def build_record(cls: Callable[..., _T], data: object) -> _T:
    """Return the dataclass `cls` from its fields. Raises UsageError for unknown or missing keys and bad values."""
    name = getattr(cls, "__name__", "record")
    if not isinstance(data, Mapping):
        raise UsageError(f"{name} must be an object, got {type(data).__name__}")
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # every caller passes a dataclass
    for key in data:
        if key not in known:
            raise UsageError(f"unknown key {key!r} in {name}", remedy=f"known: {', '.join(known)}")
    try:
        return cls(**data)
    except TypeError as error:
        raise UsageError(f"not a valid {name}: {error}") from error


_ERRORS: dict[str, type[ThronesError]] = {
    kind.__name__: kind for kind in (ModelError, InvalidMeasurementError, UnavailableError, UsageError)
}


def error_to_dict(error: Exception) -> dict[str, str]:
    """Return an error's class, message and remedy; one that is not ours becomes an UnavailableError."""
    if isinstance(error, ThronesError):
        kind = type(error).__name__
        return {"error": kind, "message": one_line(error.message), "remedy": error.remedy}
    return {"error": UnavailableError.__name__, "message": one_line(error), "remedy": ""}


def error_from_dict(data: Mapping[str, str]) -> ThronesError:
    """Return the error that `error_to_dict` described; an unknown class becomes UnavailableError."""
    kind = _ERRORS.get(data["error"], UnavailableError)
    return kind(data["message"], remedy=data.get("remedy", ""))
