"""Explain in one line what pydantic found wrong in a study file."""

import difflib
from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails


def explain(error: ErrorDetails, config: type[BaseModel]) -> str:
    """Return key, section, value and remedy of a validation error of `config`."""
    *sections, key = error["loc"] or ("",)
    where = f" in [{_dotted(sections)}]" if sections else ""
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        known = _known_keys(config, sections)
        near = difflib.get_close_matches(str(key), known, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(known)}"
        return f'unknown key "{key}"{where}; {hint}'
    if kind == "missing":
        choices = _choices(config, sections, str(key))
        hint = f" (one of {', '.join(choices)})" if choices else ""
        return f'"{key}"{where} is missing{hint}'
    if kind in ("literal_error", "enum"):
        return f'"{key}"{where} must be {error["ctx"]["expected"]}, got {value!r}'
    if kind == "value_error":
        return f"in [{_dotted(error['loc'])}]: {error['ctx']['error']}"
    return f'"{key}"{where} {error["msg"].replace("Input should be", "must be")}, got {value!r}'


def _dotted(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location)


def _known_keys(config: type[BaseModel], sections: Sequence[str | int]) -> list[str]:
    return list(model_of(config, sections).model_fields)


def _choices(config: type[BaseModel], sections: Sequence[str | int], key: str) -> list[str]:
    """Return the values of a key that has only a few."""
    field = model_of(config, sections).model_fields.get(key)
    annotation = field.annotation if field else None
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(choice) for choice in annotation]
    return [str(choice) for choice in get_args(annotation)] if get_origin(annotation) is Literal else []


def model_of(config: type[BaseModel], sections: Sequence[str | int]) -> type[BaseModel]:
    """Return the model of a section; the number of an entry in a list of tables is passed over."""
    model = config
    for section in sections:
        if isinstance(section, str):
            model = _model_in(model.model_fields[section].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in `Model`, `list[Model]` or `Model | None`."""
    for part in (annotation, *get_args(annotation)):
        if get_origin(part) is None and isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None
