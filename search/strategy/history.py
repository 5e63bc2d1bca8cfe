"""What a search reads from all of a study's trials before each new one; what does not change is worked out once.

A study may have ten thousand trials, and many workers that each ask for the next one.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial

from compress.spec import CompressionSpec

_specs: dict[int, tuple[datetime | None, CompressionSpec]] = {}
_structures: dict[int, tuple[datetime | None, str]] = {}
"""By the number of the trial, with its beginning, which is the trial's very own object while Optuna keeps the trial."""


def spec_of(trial: FrozenTrial) -> CompressionSpec:
    """The specification of a trial that has one."""
    began, spec = _specs.get(trial.number, (None, None))
    if spec is None or began is not trial.datetime_start:
        spec = CompressionSpec.from_dict(trial.user_attrs["spec"])
        _specs[trial.number] = trial.datetime_start, spec
    return spec


def structures(trials: Iterable[FrozenTrial]) -> set[str]:
    """What was tried, as far as speed depends on it: see `structure`."""
    found = set()
    for trial in trials:
        began, text = _structures.get(trial.number, (None, None))
        if text is None or began is not trial.datetime_start:
            if "spec" not in trial.user_attrs:
                continue
            text = structure(spec_of(trial))
            _structures[trial.number] = trial.datetime_start, text
        found.add(text)
    return found


def structure(spec: CompressionSpec) -> str:
    """What a candidate's speed depends on, as text, whose hash Python keeps."""
    return f"{spec.architecture()} {spec.quantization} {spec.threads}"


def trained(trials: Iterable[FrozenTrial]) -> list[CompressionSpec]:
    """The candidates that were trained to their end."""
    return [spec_of(trial) for trial in trials if "candidate" in trial.user_attrs]


def measured(trials: Iterable[FrozenTrial]) -> list[tuple[int, float]]:
    """MACs and value at 100 % accuracy of all structures that were measured."""
    found: list[Any] = [trial.user_attrs.get("structure") for trial in trials]
    return [(about["macs"], about["best_case"]) for about in found if about is not None]
