"""A grid instead of a search: Tables 1 and 2, where every setting is trained and measured, and none is given up."""

from typing import Any

import optuna

from search.bench import Bench
from search.bounds import objective
from search.candidate import obtain, test_accuracy_percent
from search.config import Grid
from search.loop import optimize
from search.space import grid_params, suggest_row
from search.trial import Stopwatch, attach, measure, tell


def run_grid(study: optuna.Study, bench: Bench, grid: Grid) -> None:
    """Run the rows of the grid that are not whole yet, failed ones again, until none is left or the budget ends."""
    state, wanted = optuna.trial.TrialState, grid_params(grid)

    def those(*states: optuna.trial.TrialState) -> list[dict[str, Any]]:
        trials = study.get_trials(deepcopy=False, states=states)
        return [{**trial.system_attrs.get("fixed_params", {}), **trial.params} for trial in trials]

    there = those(state.COMPLETE, state.WAITING)
    for row in wanted:
        if row not in there:
            study.enqueue_trial(row)
    optimize(study, bench, lambda: len(those(state.WAITING)), run_one=lambda trial, bench: run_row(trial, bench, grid))
    whole = those(state.COMPLETE)
    missing = [row for row in wanted if row not in whole]
    if missing:
        bench.progress.line(f"{len(missing)} of {len(wanted)} rows are missing; run the same command again for them")


def run_row(trial: optuna.Trial, bench: Bench, grid: Grid) -> float:
    """Train, convert and measure one setting over the whole test set; the road's value.

    Unlike a search's trial it takes its test accuracy at once: it is a line of the table, and nothing is chosen.
    """
    bench.progress.trial(trial.number)
    with Stopwatch(trial) as clock:
        spec = suggest_row(trial, bench.config, grid)
        trial.set_user_attr("spec", spec.to_dict())
        with clock.phase("train and convert"):
            candidate = obtain(bench, spec, trial, required_percent=0.0, has_incumbent=False)
        with clock.phase("measure"):
            bench.progress.phase(f"measuring, {bench.plan.name} plan")
            measurement = measure(bench, candidate.model, bench.plan, test=True)
            test_percent = test_accuracy_percent(bench, candidate.model)
        tell(trial, measurement, candidate)
        attach(trial, bench, candidate, measurement)
        trial.set_user_attr("test_accuracy_percent", test_percent)
        shortfall = bench.required_percent - candidate.accuracy_percent
        trial.set_user_attr("shortfall", shortfall)
        trial.set_user_attr("constraint", shortfall)
        return objective(bench.config.road, measurement, candidate.accuracy_percent)
