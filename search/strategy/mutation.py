"""A local search: small changes of the best candidates, enqueued for the trials to come."""

import math
from typing import Any

import numpy as np
import optuna

from compress.architecture import BASE
from compress.errors import UsageError
from compress.quantization import Quantization
from compress.spec import PRUNED_LAYERS, CompressionSpec, kept_channels
from search.config import StudyConfig
from search.storage.study_state import best_trials
from search.strategy.history import spec_of, structure, structures
from search.strategy.search_space import params, suggest

SHARE = 0.8
"""Of the trials are mutations, the others are the sampler's (`make sampler-comparison`)."""
AMONG = 6
"""The best so many are changed."""
TRIES = 50
CHANCES = {"width": 0.5, "move": 0.15, "drop": 0.05, "add": 0.05, "stem": 0.05, "quantization": 0.1, "round": 0.1}


def propose(study: optuna.Study, config: StudyConfig, rng: np.random.Generator) -> None:
    """Enqueue a mutation of one of the best candidates, where nothing waits and the dice say so."""
    trials = study.get_trials(deepcopy=False)
    if rng.random() >= SHARE or any(trial.state == optuna.trial.TrialState.WAITING for trial in trials):
        return
    near = best_trials(study, promising=True, trials=trials)[:AMONG] or _least_short(trials)[:AMONG]
    if not near:
        return
    tried = structures(trials)
    for _ in range(TRIES):
        chosen = near[min(int(rng.geometric(0.35)) - 1, len(near) - 1)]
        try:
            proposed = mutate(spec_of(chosen), config, rng)
            asked = optuna.trial.FixedTrial(params(proposed, config.space))
            seen_so = suggest(asked, config.space, config.training.learning_rate)  # type: ignore[arg-type]  # a FixedTrial does as a Trial
        except UsageError:  # outside the space
            continue
        if structure(seen_so) not in tried:
            # Not `enqueue_trial`, after which each parameter is one more commit when the trial is asked for.
            waiting = optuna.trial.TrialState.WAITING
            study.add_trial(
                optuna.create_trial(state=waiting, params=asked.params, distributions=asked.distributions)
            )
            return


def mutate(spec: CompressionSpec, config: StudyConfig, rng: np.random.Generator) -> CompressionSpec:
    """One to three small changes of a specification: a block stays, but it may lie outside the space."""
    space = config.space
    low, high = space.pruning_ratio
    ratios, dropped = list(spec.pruning_ratios), set(spec.dropped_blocks)
    others: dict[str, Any] = {}
    for _ in range(int(rng.integers(1, 4))):
        kept = [block for block in range(PRUNED_LAYERS - 1) if block not in dropped]
        kind = str(rng.choice(list(CHANCES), p=list(CHANCES.values())))
        if kind == "width":
            layer = int(rng.choice([0, *(block + 1 for block in kept)]))
            factor = math.exp(rng.normal(-0.05, 0.3))
            ratios[layer] = float(np.clip(1 - (1 - ratios[layer]) * factor, low, high))
        elif kind in ("move", "add") and space.drop_blocks and dropped:
            block, place = int(rng.choice(kept)), int(rng.choice(sorted(dropped)))
            width = kept_channels(BASE.blocks[block].width, ratios[block + 1])
            ratios[place + 1] = float(np.clip(1 - width / BASE.blocks[place].width, low, high))
            dropped.remove(place)
            if kind == "move":  # the same width elsewhere: the strides fall at other places
                dropped.add(block)
        elif kind == "drop" and space.drop_blocks and len(kept) > 1:
            dropped.add(int(rng.choice(kept)))
        elif kind == "stem":
            others["stem_stride"] = int(rng.choice(space.stem_stride))
        elif kind == "quantization":
            others["quantization"] = str(rng.choice(space.quantization))
        elif kind == "round":
            others["round_to"] = int(rng.choice(space.round_to))
    values: dict[str, Any] = {**spec.to_dict(), **others, "parent": None}
    values["fractions"] = [0.0 if layer - 1 in dropped else ratio for layer, ratio in enumerate(ratios)]
    values["dropped_blocks"] = sorted(dropped)
    values["ends"] = Quantization(values["quantization"]).io_dtype(space.io_dtype)
    values["epochs"] = int(np.clip(spec.epochs, *space.epochs))
    return CompressionSpec.from_dict(values)


def _least_short(trials: list[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """The trials that came nearest to the rule, where none keeps it."""
    trained = [trial for trial in trials if trial.user_attrs.get("constraint", 0.0) > 0]
    return sorted(trained, key=lambda trial: float(trial.user_attrs["constraint"]))
