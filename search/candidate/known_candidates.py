"""The best that other studies have trained and this device has measured: it is tried first and costs little."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna

from compress.errors import UsageError
from compress.quantization import Quantization
from compress.spec import CompressionSpec
from search.candidate.context import TrialContext
from search.candidate.measure_candidate import architecture_samples, best_case, plan_of
from search.candidate.weights import cached_weights, trained_before
from search.config import StudyConfig
from search.storage.trial_record import TrialRecord
from search.strategy.search_space import params
from search.strategy.warm_start import promised_gain

MAX_KNOWN = 4
"""How many are enqueued: as many as the final comparison takes."""


def enqueue_known(study: optuna.Study, records: Sequence[TrialRecord], context: TrialContext) -> int:
    """Enqueue the best candidates of other studies; return how many.

    Only candidates that promise to meet the constraint and lie in the space, and only where no trial has ended.
    """
    there = [record.enqueued for record in records]
    most = min(MAX_KNOWN, context.config.budget.trials - len(records))
    if most <= 0 or any(record.state.is_finished() for record in records):
        return 0
    best: list[Mapping[str, Any]] = []
    for wanted in _ranked_params(context):
        if wanted not in best and wanted not in there and len(best) < most:
            best.append(wanted)
            study.enqueue_trial(dict(wanted))
    return len(best)


def _ranked_params(context: TrialContext) -> list[Mapping[str, Any]]:
    """Return the parameters of what was trained and measured before, the best first."""
    found: list[tuple[float, Mapping[str, Any]]] = []
    for trained in trained_before(context):
        if trained.learning_rate != context.config.training.learning_rate:  # it would be trained anew
            continue
        measured = _measured_schemes(context, trained)
        if measured and _promises(context, trained):  # which reads its weights
            found.extend(measured)
    found.sort(key=lambda pair: pair[0], reverse=context.objective.is_maximized)
    return [wanted for _, wanted in found]


def _measured_schemes(context: TrialContext, trained: CompressionSpec) -> list[tuple[float, Mapping[str, Any]]]:
    """Return best case and parameters of a trained network in each quantization scheme that was measured."""
    found: list[tuple[float, Mapping[str, Any]]] = []
    for quantization in context.config.space.quantization:
        spec = _spec_to_enqueue(trained, quantization, context.config)
        samples = architecture_samples(context, spec, plan_of(context, spec))
        if not samples or spec.epochs > trained.all_epochs:
            continue
        try:
            found.append((best_case(context.objective, samples), params(spec, context.config.space)))
        except UsageError:  # outside the space
            continue
    return found


def _spec_to_enqueue(trained: CompressionSpec, quantization: Quantization, config: StudyConfig) -> CompressionSpec:
    """Return what a trial must suggest to get the trained network."""
    space = config.space
    return replace(
        trained,
        parent=None,
        epochs=int(np.clip(trained.epochs, *space.epochs)),
        quantization=quantization,
        io_dtype=quantization.io_dtype(space.io_dtype),
        threads=space.threads[0],
    )


def _promises(context: TrialContext, trained: CompressionSpec) -> bool:
    """Return True where its accuracy meets the constraint now, or is predicted to after the final training."""
    stored = cached_weights(context, trained)
    if stored is None or not stored.curve:
        return False
    gain = promised_gain(trained, context.config.final_training)
    return stored.curve[-1] + gain >= context.required_percent
