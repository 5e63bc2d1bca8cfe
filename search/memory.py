"""What a search reads from all of a study's trials before each new one; what does not change is worked out once.

A study may have ten thousand trials, and many workers that each ask for the next one.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial

from compress.spec import CompressionSpec

_Key = tuple[datetime | None, int]
_specs: dict[_Key, CompressionSpec] = {}
_structures: dict[_Key, str] = {}


def spec_of(trial: FrozenTrial) -> CompressionSpec:
    """The specification of a trial that has one."""
    key = trial.datetime_start, trial.number
    if key not in _specs:
        _specs[key] = CompressionSpec.from_dict(trial.user_attrs["spec"])
    return _specs[key]


def structures(trials: Iterable[FrozenTrial]) -> set[str]:
    """What was tried, as far as speed depends on it: see `structure`."""
    found = set()
    for trial in trials:
        if "spec" in trial.user_attrs:
            key = trial.datetime_start, trial.number
            if key not in _structures:
                _structures[key] = structure(spec_of(trial))
            found.add(_structures[key])
    return found


def structure(spec: CompressionSpec) -> str:
    """What a candidate's speed depends on, as text, whose hash Python keeps."""
    return f"{spec.architecture()} {spec.quantization} {spec.threads}"


def trained(trials: Iterable[FrozenTrial]) -> list[CompressionSpec]:
    """The candidates whose trained weights are at hand."""
    return [spec_of(trial) for trial in trials if "candidate" in trial.user_attrs]


def measured(trials: Iterable[FrozenTrial]) -> list[tuple[int, float]]:
    """MACs and value at 100 % accuracy of all structures that were measured."""
    found: list[Any] = [trial.user_attrs.get("structure") for trial in trials]
    return [(about["macs"], about["best_case"]) for about in found if about is not None]
