"""The search space: Optuna's parameters to a spec and back; a grid's are in `search.strategy.grid_space`."""

from typing import Any

import optuna

from compress.architecture import BASE
from compress.errors import UsageError
from compress.quantization import Quantization
from compress.spec import CompressionSpec
from search.config import StudyConfig
from search.config_sections import Space
from search.evaluation import EndReason, Rejected, Rejection

LAYERS = ("stem", *(f"block{block}" for block in range(len(BASE.blocks))))
DISTILL_STEP = 0.1
"""The step of distill_weight, so that no distillation is among the choices."""
MIN_RATIO_RANGE = 1e-6
"""A shorter range of pruning ratios is one value."""


def suggest(trial: optuna.Trial, space: Space, learning_rate: float) -> CompressionSpec:
    """Return the spec that this trial tries.

    Each block has one parameter: values up to the space's highest ratio are its pruning ratio, larger values drop the
    block. That is half the parameters of a ratio and a switch for each block, which speeds up the sampler and the
    storage. A ratio with one value has a range all the same; its lower half keeps the block.

    Raises UsageError where the trial drops every block.
    """

    def choose(name: str, choices: list[Any]) -> Any:
        return trial.suggest_categorical(name, choices) if len(choices) > 1 else choices[0]

    low, high = space.pruning_ratio
    kept = _highest_kept(space)
    pruned = [trial.suggest_float(f"prune_{layer}", low, top) for layer, top in _tops(space)]
    quantization = Quantization(choose("quantization", [scheme.value for scheme in space.quantization]))
    return CompressionSpec(
        pruning_ratios=tuple(min(value, high) if value <= kept else 0.0 for value in pruned),
        round_to=choose("round_to", space.round_to),
        dropped_blocks=tuple(block for block, value in enumerate(pruned[1:]) if value > kept),
        stem_stride=choose("stem_stride", space.stem_stride),
        epochs=trial.suggest_int("epochs", *space.epochs),
        learning_rate=learning_rate,
        distill_weight=trial.suggest_float("distill_weight", *space.distill_weight, step=DISTILL_STEP),
        quantization=quantization,
        io_dtype=quantization.io_dtype(space.io_dtype),
        threads=choose("threads", space.threads),
    )


def suggest_spec(trial: optuna.Trial, config: StudyConfig) -> CompressionSpec:
    """Return what a trial of the study's search tries. Raises Rejected where its parameters make no network."""
    try:
        return suggest(trial, config.space, config.training.learning_rate)
    except UsageError as error:
        raise Rejected(Rejection(EndReason.NO_NETWORK, f"no network: {error}")) from error


def params(spec: CompressionSpec, space: Space) -> dict[str, Any]:
    """Return the parameters with which `suggest` gives `spec` again, except the ratio of a dropped block, which is 0.

    Raises UsageError when the space does not hold the spec.
    """
    return {**_ratio_params(spec, space), **_choice_params(spec, space), **_range_params(spec, space)}


def _ratio_params(spec: CompressionSpec, space: Space) -> dict[str, float]:
    low, high = space.pruning_ratio
    if spec.dropped_blocks and not space.drop_blocks:
        message = f"blocks {list(spec.dropped_blocks)} are dropped"
        raise UsageError(message, remedy="set drop_blocks = true in [space]")
    values = {}
    for layer, ((name, top), ratio) in enumerate(zip(_tops(space), spec.pruning_ratios, strict=True)):
        if layer - 1 in spec.dropped_blocks:
            values[f"prune_{name}"] = (_highest_kept(space) + top) / 2
            continue
        if not low <= ratio <= high:
            message = f"pruning ratio {ratio} is outside the space's {low}..{high}"
            raise UsageError(message, remedy="widen pruning_ratio in [space]")
        values[f"prune_{name}"] = ratio
    return values


def _choice_params(spec: CompressionSpec, space: Space) -> dict[str, Any]:
    choices_of: dict[str, tuple[Any, list[Any]]] = {
        "quantization": (spec.quantization.value, [scheme.value for scheme in space.quantization]),
        "round_to": (spec.round_to, list(space.round_to)),
        "stem_stride": (spec.stem_stride, list(space.stem_stride)),
        "threads": (spec.threads, list(space.threads)),
    }
    values = {}
    for name, (value, choices) in choices_of.items():
        if value not in choices:
            raise UsageError(f"{name} {value} is not among {choices}", remedy=f"add it to {name} in [space]")
        if len(choices) > 1:
            values[name] = value
    return values


def _range_params(spec: CompressionSpec, space: Space) -> dict[str, float]:
    values = {}
    for name, (low, high) in (("epochs", space.epochs), ("distill_weight", space.distill_weight)):
        value = getattr(spec, name)
        if not low <= value <= high:
            raise UsageError(f"{name} {value} is outside {low}..{high}", remedy=f"widen {name} in [space]")
        values[name] = value
    steps = (spec.distill_weight - space.distill_weight[0]) / DISTILL_STEP
    if abs(steps - round(steps)) > 1e-6:
        message = f"distill_weight {spec.distill_weight} is no multiple of {DISTILL_STEP}"
        raise UsageError(message, remedy="round it")
    return values


def initial_params(config: StudyConfig) -> list[dict[str, Any]]:
    """Return the parameters of the specs to try first. Raises UsageError when the space does not hold one."""
    try:
        return [params(spec, config.space) for spec in config.initial_specs()]
    except UsageError as error:
        raise UsageError(f"study {config.name}: in [[initial]]: {error}") from error


def _highest_kept(space: Space) -> float:
    """Return the highest value of a block's parameter that keeps the block."""
    low, high = space.pruning_ratio
    return high if high - low >= MIN_RATIO_RANGE else high + 0.05


def _tops(space: Space) -> list[tuple[str, float]]:
    """Return each layer and the top of its range; the stem cannot be dropped."""
    low, high = space.pruning_ratio
    kept = _highest_kept(space)
    # Not the same expression for all: [0.2, 0.3] is shorter than 0.1 by a rounding error, and stored studies have 0.4.
    length = max(high - low, 0.1) if high - low > 0.0999 else kept - low
    beyond = kept + length if space.drop_blocks else high
    return [("stem", high), *((layer, beyond) for layer in LAYERS[1:])]
