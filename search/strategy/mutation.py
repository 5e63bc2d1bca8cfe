"""A local search: small changes of the best candidates, enqueued for the trials to come."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import optuna
from optuna.trial import TrialState

from compress.architecture import BASE
from compress.errors import UsageError
from compress.spec import PRUNED_LAYERS, CompressionSpec, kept_channels
from search.config import StudyConfig
from search.config_sections import Space
from search.storage.trial_record import TrialRecord, speed_key
from search.strategy.ranking import rank_predicted
from search.strategy.search_space import params, suggest

MUTATION_SHARE = 0.8
"""The share of trials that are mutations; the others are the sampler's (`make sampler-comparison`)."""
MAX_ORIGINS = 6
"""How many of the best candidates are mutated."""
MAX_TRIES = 50


def propose(study: optuna.Study, records: Sequence[TrialRecord], config: StudyConfig, rng: np.random.Generator) -> None:
    """Enqueue a mutation of one of the best candidates, unless a trial waits or the dice leave it to the sampler."""
    if rng.random() >= MUTATION_SHARE or any(record.state is TrialState.WAITING for record in records):
        return
    origins = rank_predicted(records, config.road)[:MAX_ORIGINS] or _nearest_to_constraint(records)[:MAX_ORIGINS]
    if not origins:
        return
    tried = {record.speed_key for record in records}
    for _ in range(MAX_TRIES):
        chosen = origins[min(int(rng.geometric(0.35)) - 1, len(origins) - 1)]
        assert chosen.spec is not None  # it was trained
        try:
            mutant = mutate(chosen.spec, config, rng)
            fixed = optuna.trial.FixedTrial(params(mutant, config.space))
            spec = suggest(fixed, config.space, config.training.learning_rate)  # type: ignore[arg-type]  # a FixedTrial does as a Trial
        except UsageError:  # outside the space
            continue
        if speed_key(spec) not in tried:
            # Not `enqueue_trial`: after it each parameter is one more commit when the trial starts.
            waiting = optuna.create_trial(
                state=TrialState.WAITING, params=fixed.params, distributions=fixed.distributions
            )
            study.add_trial(waiting)
            return


def mutate(spec: CompressionSpec, config: StudyConfig, rng: np.random.Generator) -> CompressionSpec:
    """Return the spec with one to three small changes. At least one block stays; it may be outside the space."""
    space = config.space
    draft = _Draft(spec, list(spec.pruning_ratios), set(spec.dropped_blocks))
    kinds = list(MUTATIONS)
    chances = [chance for chance, _ in MUTATIONS.values()]
    for _ in range(int(rng.integers(1, 4))):
        kind = str(rng.choice(kinds, p=chances))
        _, change = MUTATIONS[kind]
        change(draft, space, rng)
    ratios = [
        0.0 if layer - 1 in draft.dropped else ratio
        for layer, ratio in enumerate(draft.ratios)
    ]
    return replace(
        draft.spec,
        pruning_ratios=tuple(ratios),
        dropped_blocks=tuple(sorted(draft.dropped)),
        io_dtype=draft.spec.quantization.io_dtype(space.io_dtype),
        epochs=int(np.clip(spec.epochs, *space.epochs)),
        parent=None,
    )


@dataclass
class _Draft:
    """A spec on its way to the next one: its widths and blocks are changed apart from the rest."""

    spec: CompressionSpec
    ratios: list[float]
    dropped: set[int] = field(default_factory=set)

    @property
    def kept(self) -> list[int]:
        """Return the blocks that stay."""
        return [block for block in range(PRUNED_LAYERS - 1) if block not in self.dropped]


def _change_width(draft: _Draft, space: Space, rng: np.random.Generator) -> None:
    """Make the stem or a block that stays wider or narrower."""
    layer = int(rng.choice([0, *(block + 1 for block in draft.kept)]))
    factor = math.exp(rng.normal(-0.05, 0.3))
    draft.ratios[layer] = float(np.clip(1 - (1 - draft.ratios[layer]) * factor, *space.pruning_ratio))


def _move_block(draft: _Draft, space: Space, rng: np.random.Generator) -> None:
    """Put a block where another one was dropped: the same width elsewhere, so that strides fall at other places."""
    moved = _copy_block(draft, space, rng)
    if moved is not None:
        draft.dropped.add(moved)


def _add_block(draft: _Draft, space: Space, rng: np.random.Generator) -> None:
    """Bring a dropped block back, as wide as one that stays."""
    _copy_block(draft, space, rng)


def _copy_block(draft: _Draft, space: Space, rng: np.random.Generator) -> int | None:
    """Give a dropped block the width of one that stays; return the latter, None where no block was dropped."""
    if not space.drop_blocks or not draft.dropped:
        return None
    block = int(rng.choice(draft.kept))
    place = int(rng.choice(sorted(draft.dropped)))
    width = kept_channels(BASE.blocks[block].width, draft.ratios[block + 1])
    draft.ratios[place + 1] = float(np.clip(1 - width / BASE.blocks[place].width, *space.pruning_ratio))
    draft.dropped.remove(place)
    return block


def _drop_block(draft: _Draft, space: Space, rng: np.random.Generator) -> None:
    if space.drop_blocks and len(draft.kept) > 1:
        draft.dropped.add(int(rng.choice(draft.kept)))


def _change_stem(draft: _Draft, space: Space, rng: np.random.Generator) -> None:
    draft.spec = replace(draft.spec, stem_stride=int(rng.choice(space.stem_stride)))


def _change_quantization(draft: _Draft, space: Space, rng: np.random.Generator) -> None:
    chosen = space.quantization[int(rng.integers(len(space.quantization)))]
    io_dtype = chosen.io_dtype(space.io_dtype)
    draft.spec = replace(draft.spec, quantization=chosen, io_dtype=io_dtype)


def _change_rounding(draft: _Draft, space: Space, rng: np.random.Generator) -> None:
    draft.spec = replace(draft.spec, round_to=int(rng.choice(space.round_to)))


MUTATIONS: dict[str, tuple[float, Callable[[_Draft, Space, np.random.Generator], None]]] = {
    "width": (0.5, _change_width),
    "move": (0.15, _move_block),
    "drop": (0.05, _drop_block),
    "add": (0.05, _add_block),
    "stem": (0.05, _change_stem),
    "quantization": (0.1, _change_quantization),
    "round": (0.1, _change_rounding),
}
"""The chance of each kind of change, and the function that makes it."""


def _nearest_to_constraint(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that were trained and miss the constraint, the nearest first."""
    violations = {
        record.number: record.predicted_violation
        for record in records
        if record.predicted_violation is not None and record.predicted_violation > 0
    }
    missed = [record for record in records if record.number in violations]
    return sorted(missed, key=lambda record: violations[record.number])
