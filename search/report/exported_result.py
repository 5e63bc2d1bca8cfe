"""Describe an exported winner: result.json, as `thrones best --results` writes it and others read it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from edge.errors import UsageError, with_prefix
from search.report.results import Figures

RESULT_FILE = "result.json"
"""A folder with this file was exported, so an export replaces it."""
Number = int | float


class _Record(BaseModel):
    """A part of the file. Unknown keys, as a later version may write them, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Comparison(_Record):
    """A figure of base and best; `ratio` says how many times better the best is."""

    base: Number | None
    best: Number | None
    ratio: float | None

    @classmethod
    def of(
        cls, base: Figures, best: Figures, get: Callable[[Figures], float | None], *, higher_is_better: bool = False
    ) -> "Comparison":
        """Compare the figure that `get` reads."""
        was, now = get(base), get(best)
        above, below = (now, was) if higher_is_better else (was, now)
        ratio = above / below if above is not None and below else None
        return cls(base=was, best=now, ratio=ratio)


class PowerComparison(Comparison):
    """A figure that rests on the power meter; `estimated`: on an assumed power."""

    estimated: bool


class Accuracies(_Record):
    """Accuracies in percent: of the best on validation and test images, and of the base on test images."""

    validation: float
    test: float
    base_test: float


class SearchTime(_Record):
    """How long the search took. Minutes count from the start of the first trial, pauses between runs included.

    speedup_reached_after_minutes: by speed-up against the base; None where it was never reached. None as a whole for
    objectives other than latency, and left out of the file.
    """

    seconds_of_all_trials: float
    wall_minutes: float
    best_found_after_minutes: float
    speedup_reached_after_minutes: dict[str, float | None] | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        if self.speedup_reached_after_minutes is None:
            del values["speedup_reached_after_minutes"]
        return values


class ExportedResult(_Record):
    """The content of result.json, in the order of the file.

    sha256: names the bytes of the model.
    base: the key of the base network, None where the study does not know it.
    trials: how many there were, by state.
    study: the study file's text.
    """

    name: str
    road: str
    trial: int
    sha256: str
    accuracy_percent: Accuracies
    latency_ms: Comparison
    energy_mj: PowerComparison
    fom: PowerComparison
    parameters: Comparison
    macs: Comparison
    model_bytes: Comparison = Field(alias="bytes")
    peak_memory_mb: Comparison
    rule_percent: float
    required_percent: float
    data: str
    base: str | None = None
    seed: int
    device: str
    meter: str
    plan: str
    environment: dict[str, Any]
    trials: dict[str, int]
    time: SearchTime
    command: str
    versions: dict[str, str | None] = Field(default_factory=dict)
    study: str

    def to_json(self) -> str:
        """Return JSON text; `from_json` gives the same result back."""
        return json.dumps(self.model_dump(by_alias=True), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "ExportedResult":
        """Read what `to_json` wrote. Raises UsageError for anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            what = f"{where}: {first['msg']}" if where else first["msg"]
            remedy = "write it again with `thrones best --results`"
            raise UsageError(f"no exported result ({what})", remedy=remedy) from error

    @classmethod
    def read(cls, path: Path) -> "ExportedResult":
        """Read the file. Raises UsageError where it is missing or damaged."""
        try:
            return cls.from_json(path.read_bytes())
        except OSError as error:
            raise UsageError(f"{path} cannot be read ({error.strerror})", remedy="a winner needs it") from error
        except UsageError as error:
            raise with_prefix(f"{path}", error) from error
