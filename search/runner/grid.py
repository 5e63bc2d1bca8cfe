"""A grid instead of a search: Tables 1 and 2, where every setting is trained and measured, and none is given up."""

from typing import Any

import optuna

from search.candidate.accuracy import shortfall_of
from search.candidate.architecture_speed import measure_on_test_images
from search.candidate.context import Bench
from search.candidate.phase_timer import Stopwatch
from search.candidate.shared_weights import attach_weights, fetch_weights
from search.candidate.train import obtain, test_accuracy_percent
from search.config_sections import Grid
from search.runner.loop import optimize
from search.storage.study_state import asked_params
from search.storage.trial_attributes import attach, tell_candidate, tell_measurement
from search.strategy.early_stopping import objective
from search.strategy.search_space import grid_params, stands, suggest_row


def run_grid(study: optuna.Study, bench: Bench, grid: Grid) -> None:
    """Run the rows that were asked for, until none is left or the budget ends."""
    waiting = optuna.trial.TrialState.WAITING
    optimize(
        study, bench, lambda trial, bench: run_row(trial, bench, grid), lambda: len(_rows(study, waiting)), stay=True
    )


def tell_missing(study: optuna.Study, bench: Bench, grid: Grid) -> None:
    """Say how many rows are not whole, if any."""
    wanted, trials = grid_params(grid), study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    whole = [asked_params(trial) for trial in trials if stands(trial, bench.config, grid)]
    missing = [row for row in wanted if row not in whole]
    if missing:
        bench.progress.line(f"{len(missing)} of {len(wanted)} rows are missing; run the same command again for them")


def _rows(study: optuna.Study, *states: optuna.trial.TrialState) -> list[dict[str, Any]]:
    return [asked_params(trial) for trial in study.get_trials(deepcopy=False, states=states)]


def run_row(trial: optuna.Trial, bench: Bench, grid: Grid) -> float:
    """Train, convert and measure one setting over the whole test set; the road's value.

    Unlike a search's trial it takes its test accuracy at once: it is a line of the table, and nothing is chosen.
    """
    with Stopwatch(trial) as clock:
        bench.progress.trial(trial.number, clock.on_status)
        if not asked_params(trial.study.get_trials(deepcopy=False)[trial.number]):
            raise optuna.TrialPruned("another worker took the row, and no other is left")
        spec = suggest_row(trial, bench.config, grid)
        trial.set_user_attr("spec", spec.to_dict())
        fetch_weights(bench, trial.study.get_trials(deepcopy=False), spec)
        candidate = obtain(bench, spec, trial, clock, required_percent=0.0, has_incumbent=False)
        with clock.phase("measure"):
            bench.progress.phase(f"measuring, {bench.plan.name} plan")
            measurement = measure_on_test_images(bench, candidate.model, bench.plan)
            test_percent = test_accuracy_percent(bench, candidate.model)
        shortfall = shortfall_of(candidate.accuracy, bench.rule_percent, bench.required_percent)
        tell_measurement(trial, measurement)
        tell_candidate(trial, candidate.model, candidate.operators, candidate.accuracy, shortfall)
        attach(trial, bench.artifacts, candidate.model, measurement)
        attach_weights(trial, bench, spec)
        trial.set_user_attr("test_accuracy_percent", test_percent)
        trial.set_user_attr("constraint", shortfall)
        return objective(bench.config.road, measurement, candidate.accuracy.search_percent)
