"""The search space: Optuna's parameters to a specification and back. No other file calls `trial.suggest_*`."""

import math
from dataclasses import replace
from typing import Any

import optuna

from compress.architecture import BASE
from compress.errors import UsageError
from compress.quantization import Quantization
from compress.spec import PRUNED_LAYERS, CompressionSpec
from search.config import StudyConfig
from search.config_sections import Grid, Space

LAYERS = ("stem", *(f"block{block}" for block in range(len(BASE.blocks))))
NO_NETWORK = "no network"
"""So begins the reason of a trial whose parameters leave none."""
DISTILL_STEP = 0.1
"""Steps, so that a trial without any distillation is among the choices."""
ONE_VALUE = 1e-6
"""A range of fractions shorter than this is one value."""


def suggest(trial: optuna.Trial, space: Space, learning_rate: float) -> CompressionSpec:
    """The specification that this trial is to try.

    One number decides a block: up to the space's highest fraction it is the fraction of its channels that goes, and
    from there on, over a range as long again, the whole block goes. That is half the parameters of a number and a
    switch for each block, which the sampler and the storage feel. A fraction of one value has a range all the same,
    whose lower half leaves the block.

    Raises UsageError where the trial drops every block.
    """

    def choose(name: str, choices: list[Any]) -> Any:
        return trial.suggest_categorical(name, choices) if len(choices) > 1 else choices[0]

    low, high = space.pruning_ratio
    kept = _kept_up_to(space)
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


def asked_spec(trial: optuna.Trial, config: StudyConfig) -> CompressionSpec:
    """What a trial of the study's search is to try. Raises TrialPruned where that is no network."""
    try:
        return suggest(trial, config.space, config.training.learning_rate)
    except UsageError as error:
        raise optuna.TrialPruned(f"{NO_NETWORK}: {error}") from error


def params(spec: CompressionSpec, space: Space) -> dict[str, Any]:
    """The parameters with which `suggest` gives `spec` again, but for the fraction of a dropped block, which is 0.

    Raises UsageError when the space does not hold the specification.
    """
    low, high = space.pruning_ratio
    if spec.dropped_blocks and not space.drop_blocks:
        raise UsageError(f"blocks {list(spec.dropped_blocks)} are dropped; set drop_blocks = true in [space]")
    values: dict[str, Any] = {}
    for layer, ((name, top), fraction) in enumerate(zip(_tops(space), spec.pruning_ratios, strict=True)):
        dropped = layer - 1 in spec.dropped_blocks
        if not dropped and not low <= fraction <= high:
            raise UsageError(
                f"pruning ratio {fraction} is outside the space's {low}..{high}; widen pruning_ratio in [space]"
            )
        values[f"prune_{name}"] = (_kept_up_to(space) + top) / 2 if dropped else fraction
    choice_parameters: tuple[tuple[str, Any, list[Any]], ...] = (
        ("quantization", spec.quantization.value, [scheme.value for scheme in space.quantization]),
        ("round_to", spec.round_to, list(space.round_to)),
        ("stem_stride", spec.stem_stride, list(space.stem_stride)),
        ("threads", spec.threads, list(space.threads)),
    )
    for name, value, choices in choice_parameters:
        if value not in choices:
            raise UsageError(f"{name} {value} is not among {choices}; add it to {name} in [space]")
        if len(choices) > 1:
            values[name] = value
    for name, (least, most) in (("epochs", space.epochs), ("distill_weight", space.distill_weight)):
        value = getattr(spec, name)
        if not least <= value <= most:
            raise UsageError(f"{name} {value} is outside {least}..{most}; widen {name} in [space]")
        values[name] = value
    steps = (spec.distill_weight - space.distill_weight[0]) / DISTILL_STEP
    if abs(steps - round(steps)) > 1e-6:
        raise UsageError(f"distill_weight {spec.distill_weight} is no multiple of {DISTILL_STEP}; round it")
    return values


def starting_params(config: StudyConfig) -> list[dict[str, Any]]:
    """The parameters of the specifications to try first. Raises UsageError when the space does not hold one."""
    try:
        return [params(spec, config.space) for spec in config.initial_specs()]
    except UsageError as error:
        raise UsageError(f"study {config.name}: in [[initial]]: {error}") from error


def grid_params(grid: Grid) -> list[dict[str, Any]]:
    """The parameters of every row of a grid, each fraction's epochs rising; a fraction of 0 has one row."""
    return [
        {"fraction": fraction, "epochs": epochs, "quantization": quantization.value}
        for quantization in dict.fromkeys(grid.quantization)
        for fraction in sorted({fraction + 0.0 for fraction in grid.pruning_ratio})
        for epochs in (sorted(set(grid.epochs)) if fraction else [0])
    ]


def suggest_row(trial: optuna.Trial, config: StudyConfig, grid: Grid) -> CompressionSpec:
    """The specification of the grid's row that this trial is to be."""
    # Ranges and all formats, not the grid's own values: Optuna lets no trial add a choice to those of another.
    fraction = trial.suggest_float("fraction", 0.0, 1.0)
    epochs = trial.suggest_int("epochs", 0, 10_000)
    quantization = trial.suggest_categorical("quantization", [scheme.value for scheme in Quantization])
    return row_spec(config, grid, fraction=fraction, epochs=epochs, quantization=quantization)


def stands(trial: optuna.trial.FrozenTrial, config: StudyConfig, grid: Grid) -> bool:
    """Whether a whole trial is what the grid asks for now: another list of epochs trains a row in other legs."""
    return bool(trial.user_attrs.get("spec") == row_spec(config, grid, **row_of(trial)).to_dict())


def row_of(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """The grid's row that a whole trial is, as `grid_params` has it."""
    return {name: trial.params[name] for name in ("fraction", "epochs", "quantization")}


def row_spec(config: StudyConfig, grid: Grid, *, fraction: float, epochs: int, quantization: str) -> CompressionSpec:
    """The specification of a grid's row: the same fraction of every layer; its fewer epochs are its parents."""
    plain = CompressionSpec(
        pruning_ratios=(fraction,) * PRUNED_LAYERS,
        learning_rate=config.training.learning_rate,
        distill_weight=grid.distill_weight,
    )
    spec = _going_on(plain, epochs, grid.epochs)
    scheme = Quantization(quantization)
    return replace(spec, quantization=scheme, io_dtype=scheme.io_dtype(config.space.io_dtype))


def _going_on(spec: CompressionSpec, epochs: int, others: list[int]) -> CompressionSpec:
    """`spec` after so many epochs. The last of them go on from the next fewer ones among the others, and begin at the
    rate to which one cosine over all of them would have come down by then: at the full rate, what was learnt is lost.
    """
    fewer = max((other for other in others if other < epochs), default=0)
    if not fewer:
        return replace(spec, epochs=epochs)
    rate = spec.learning_rate * (1 + math.cos(math.pi * fewer / epochs)) / 2
    return replace(spec, epochs=epochs - fewer, learning_rate=rate, parent=_going_on(spec, fewer, others))


def _kept_up_to(space: Space) -> float:
    """The highest number of a layer that leaves its block."""
    low, high = space.pruning_ratio
    return high if high - low >= ONE_VALUE else high + 0.05


def _tops(space: Space) -> list[tuple[str, float]]:
    """Each layer and the top of its range; the stem cannot be dropped."""
    low, high = space.pruning_ratio
    kept = _kept_up_to(space)
    # Not the same expression for all: [0.2, 0.3] is shorter than 0.1 by a rounding error, and stored studies have 0.4.
    length = max(high - low, 0.1) if high - low > 0.0999 else kept - low
    beyond = kept + length if space.drop_blocks else high
    return [(layer, high if layer == "stem" else beyond) for layer in LAYERS]
