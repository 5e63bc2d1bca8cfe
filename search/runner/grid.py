"""A grid instead of a search: Tables 1 and 2, where every setting is trained and measured, and none is given up."""

from dataclasses import replace
from functools import partial

import optuna
from optuna.trial import TrialState

from search.candidate.context import TrialContext
from search.candidate.evaluate import test_accuracy_percent
from search.candidate.measure_candidate import measure_on_test_images
from search.candidate.pipeline import Steps
from search.candidate.weights import TrainedWeights
from search.config_sections import Grid
from search.evaluation import EndReason, Rejected, Rejection
from search.runner.loop import run_trials
from search.runner.run_pipeline import run_pipeline
from search.runner.trial import SEARCH_STEPS, record_candidate
from search.storage.trial_history import TrialHistory
from search.strategy.grid_space import grid_rows, is_current, suggest_row
from search.strategy.task import Requirements, Task

GRID_STEPS: Steps[TrialContext, TrainedWeights] = replace(
    SEARCH_STEPS,
    measure_architecture=None,
    measure=lambda task, context, model, architecture: measure_on_test_images(context, model, context.plan),
    test_accuracy=test_accuracy_percent,  # at once: it is a line of a table, and nothing is chosen
)


def run_grid(
    study: optuna.Study, context: TrialContext, history: TrialHistory, grid: Grid, deadline_s: float
) -> None:
    """Run the rows that were enqueued, until none is left or the budget ends.

    Args:
        study: The study.
        context: What the trials share.
        history: The trials of the study.
        grid: The grid.
        deadline_s: `time.monotonic()` when the budget ends.
    """

    def left() -> int:
        return sum(record.state is TrialState.WAITING for record in history.records())

    run_one = partial(run_row, context=context, history=history, grid=grid, deadline_s=deadline_s)
    run_trials(study, context, history, run_one, deadline_s=deadline_s, left=left, wait_for_others=True)


def log_missing_rows(context: TrialContext, history: TrialHistory, grid: Grid) -> None:
    """Say how many rows of the grid are missing, if any."""
    complete = [record for record in history.records() if record.is_complete]
    current = [dict(record.enqueued) for record in complete if is_current(record, context.config, grid)]
    wanted = [row.params for row in grid_rows(grid)]
    missing = [params for params in wanted if params not in current]
    if missing:
        context.progress.line(
            f"{len(missing)} of {len(wanted)} rows are missing; run the same command again for them"
        )


def run_row(
    trial: optuna.Trial, context: TrialContext, history: TrialHistory, grid: Grid, deadline_s: float
) -> float:
    """Train, convert and measure one setting over the whole test set; return the objective's value.

    Args:
        trial: The running trial.
        context: What the trials share.
        history: The trials of the study.
        grid: The grid.
        deadline_s: `time.monotonic()` when the budget ends.

    Raises:
        Rejected: No row was left for this trial.
        CandidateError: The model cannot be converted.
        EdgeError: The model cannot be measured.
    """
    records = history.records()
    if not records[trial.number].enqueued:
        raise Rejected(Rejection(EndReason.NOTHING_LEFT, "another worker took the row, and no other is left"))
    task = Task(
        spec=suggest_row(trial, context.config, grid),
        requirements=Requirements(context.constraint_percent, context.required_percent, deadline_s),
        records=records,
    )
    evaluation = run_pipeline(trial, task, context, GRID_STEPS)
    # Nothing is predicted of a row: what it lacks is what it has measured.
    evaluation = replace(evaluation, predicted_violation=evaluation.constraint_violation)
    record_candidate(trial, task, context, evaluation)
    return evaluation.value
