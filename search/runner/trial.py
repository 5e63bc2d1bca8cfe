"""One trial, from Optuna's parameters to the figures it is told; read `run_trial` from top to bottom."""

from dataclasses import replace

import optuna
from optuna.trial import FrozenTrial

from compress.quantization import Quantization
from compress.spec import CompressionSpec
from search.candidate.accuracy import shortfall_of, stored_accuracy
from search.candidate.architecture_speed import (
    Incumbent,
    best_case,
    compare_in_turns,
    measure_structure,
    measure_trained,
)
from search.candidate.context import Bench
from search.candidate.phase_timer import Stopwatch
from search.candidate.shared_weights import attach_weights, fetch_weights, obtainable
from search.candidate.train import QAT_SHARE, obtain, trained_before
from search.config import StudyConfig
from search.storage.study_state import FINALIST, FORMAT, TIE, best_trials, is_finalist
from search.storage.trial_attributes import attach, tell_candidate, tell_measurement
from search.strategy.early_stopping import best_case_of, is_better, objective
from search.strategy.history import measured, spec_of
from search.strategy.search_space import asked_spec
from search.strategy.turns_verdict import Verdict
from search.strategy.warm_start import descend, promised_gain, weights_only


def run_trial(trial: optuna.Trial, bench: Bench) -> float:
    """Build, measure and train one candidate; the road's value.

    Raises TrialPruned when it cannot win or cannot keep the rule, CandidateError or EdgeError when it fails.
    """
    with Stopwatch(trial) as clock:
        bench.progress.trial(trial.number, clock.on_status)
        return _run_timed(trial, bench, clock)


def _run_timed(trial: optuna.Trial, bench: Bench, clock: Stopwatch) -> float:
    config, finalist = bench.config, is_finalist(trial)
    spec = asked_spec(trial, config)
    trials = trial.study.get_trials(deepcopy=False)
    parents = [*obtainable(bench, trials), *trained_before(bench)]
    spec = finalist_spec(trial, config) if finalist else descend(spec, parents)
    trial.set_user_attr("spec", spec.to_dict())
    plan = replace(bench.plan, threads=spec.threads)
    # In the search, a candidate may fall short of the rule by what longer training is going to add.
    to_come = 0.0 if finalist else promised_gain(spec, config.final_training)
    incumbent = _incumbent(trial.study, trials, promising=not finalist)

    macs = spec.architecture().macs
    free = best_case_of(config.road, macs, measured(trials))
    if incumbent is not None and free is not None and not is_better(config.road, free, incumbent.value):
        reason = f"cannot win: {macs:,} MACs allow {free:.4g} at most, the best so far has {incumbent.value:.4g}"
        raise optuna.TrialPruned(reason)

    with clock.phase("structure"):
        bench.progress.phase("structure")
        samples = measure_structure(bench, spec, plan, clock)
        tell_measurement(trial, samples[-1])
        best = best_case(config.road, samples)
        structure = {"macs": macs, "best_case": best, "device": samples[-1].device}
        trial.set_user_attr("structure", structure)
        if incumbent is not None and not is_better(config.road, best, incumbent.value):
            tie = TIE if finalist else 0.0  # a tie goes to the more accurate one
            behind = incumbent.value / best if config.road == "fom" else best / incumbent.value
            verdict, advantage = compare_in_turns(bench, spec, incumbent, plan, tie, behind, clock)
            trial.set_user_attr("structure", {**structure, "advantage": advantage})
            if verdict is Verdict.CANNOT_WIN:
                raise optuna.TrialPruned(
                    f"cannot win: {best:.4g} at 100 % accuracy, the best so far has {incumbent.value:.4g}; it is "
                    f"{advantage:.3f} times as good as trial {incumbent.number}'s structure"
                )

    # A finalist is trained to its end: over so many epochs a curve rises late, when the learning rate falls.
    required_percent = 0.0 if finalist else bench.required_percent - to_come
    fetch_weights(bench, trials, spec)
    candidate = obtain(bench, spec, trial, clock, required_percent, incumbent is not None)
    with clock.phase("measure"):
        bench.progress.phase("measuring")
        measurement = measure_trained(bench, candidate.model, plan, samples)
    accuracy = candidate.accuracy
    tell_measurement(trial, measurement)
    shortfall = shortfall_of(accuracy, bench.rule_percent, bench.required_percent)
    tell_candidate(trial, candidate.model, candidate.operators, accuracy, shortfall)
    attach(trial, bench.artifacts, candidate.model, measurement)
    attach_weights(trial, bench, spec)
    trial.set_user_attr("constraint", bench.required_percent - accuracy.search_percent - to_come)
    return objective(config.road, measurement, accuracy.search_percent)


def _incumbent(study: optuna.Study, trials: list[FrozenTrial], *, promising: bool) -> Incumbent | None:
    """The best of the trials that keep the rule, or, `promising`, are predicted to."""
    best = next(iter(best_trials(study, promising=promising, trials=trials)), None)
    if best is None or best.value is None:
        return None
    accuracy = stored_accuracy(best.user_attrs["candidate"])
    return Incumbent(best.number, best.value, spec_of(best), accuracy.search_percent)


def finalist_spec(trial: optuna.Trial, config: StudyConfig) -> CompressionSpec:
    """A candidate of the search, trained on for longer; qat_int8 begins with the weights to which that led in float."""
    found = trial.study.get_trials(deepcopy=False)[trial.user_attrs[FINALIST]]
    origin = CompressionSpec.from_dict(found.user_attrs["spec"])
    quantization = Quantization(trial.user_attrs.get(FORMAT, origin.quantization))
    io_dtype = quantization.io_dtype(config.space.io_dtype)
    if origin.quantization.needs_aware_training:  # trained as a whole, from the base
        return replace(origin, epochs=config.final_training.epochs, quantization=quantization, io_dtype=io_dtype)
    longer = replace(weights_only(origin), epochs=config.final_training.epochs, parent=weights_only(origin))
    if quantization.needs_aware_training:
        longer = replace(longer, epochs=max(1, config.final_training.epochs // QAT_SHARE), parent=longer)
    return replace(longer, quantization=quantization, io_dtype=io_dtype, threads=origin.threads)
