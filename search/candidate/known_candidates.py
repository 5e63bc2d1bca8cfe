"""What other studies have found: the best of it is asked for first, and costs a measurement at most."""

from dataclasses import replace
from typing import Any

import numpy as np
import optuna

from compress.errors import UsageError
from compress.quantization import Quantization
from compress.spec import CompressionSpec
from search.candidate.architecture_speed import best_case, known_samples
from search.candidate.context import Bench
from search.candidate.train import stored_curve, trained_before
from search.config import StudyConfig
from search.storage.study_state import asked_params
from search.strategy.search_space import params
from search.strategy.warm_start import promised_gain

KNOWN = 4
"""So many are asked for; the closing comparison takes as many."""


def ask_for_known(study: optuna.Study, bench: Bench) -> int:
    """Enqueue the best candidates that other studies have trained and this board has measured; how many.

    Only what promises to keep the rule and lies in the space, and only where this study has no trials yet.
    """
    trials = study.get_trials(deepcopy=False)
    there = [asked_params(trial) for trial in trials]
    most = min(KNOWN, bench.config.budget.trials - len(trials))
    if most <= 0 or any(trial.state.is_finished() for trial in trials):
        return 0
    found: list[tuple[float, dict[str, Any]]] = []
    for trained in trained_before(bench):
        if trained.learning_rate != bench.config.training.learning_rate:  # it would be trained anew
            continue
        asked = [_asked(trained, quantization, bench.config) for quantization in bench.config.space.quantization]
        sampled = [(spec, known_samples(bench, spec, replace(bench.plan, threads=spec.threads))) for spec in asked]
        measured = [(spec, samples) for spec, samples in sampled if samples and spec.epochs <= trained.all_epochs]
        if not measured or not _promises(bench, trained):  # which reads its weights
            continue
        for spec, samples in measured:
            try:
                found.append((best_case(bench.config.road, samples), params(spec, bench.config.space)))
            except UsageError:  # outside the space
                continue
    found.sort(key=lambda pair: pair[0], reverse=bench.config.road == "fom")
    best: list[dict[str, Any]] = []
    for _, wanted in found:
        if wanted not in best and wanted not in there and len(best) < most:
            best.append(wanted)
    for wanted in best:
        study.enqueue_trial(wanted)
    return len(best)


def _asked(trained: CompressionSpec, quantization: Quantization, config: StudyConfig) -> CompressionSpec:
    """What a trial must ask for to be given the trained network."""
    space = config.space
    return replace(
        trained,
        parent=None,
        epochs=int(np.clip(trained.epochs, *space.epochs)),
        quantization=quantization,
        io_dtype=quantization.io_dtype(space.io_dtype),
        threads=space.threads[0],
    )


def _promises(bench: Bench, trained: CompressionSpec) -> bool:
    """Whether its accuracy keeps the rule, or is predicted to after the training of a finalist."""
    curve = stored_curve(bench, trained)
    return bool(curve) and curve[-1] + promised_gain(trained, bench.config.final_training) >= bench.required_percent
