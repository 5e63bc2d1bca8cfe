"""Between Optuna and the pipeline: what the trials of a search, a grid and a dry run have in common."""

from functools import partial
from typing import TypeVar

import optuna

from search.candidate.phase_timer import PhaseTimer
from search.candidate.pipeline import Reporter, Steps, evaluate_candidate
from search.candidate.worker_context import WorkerContext
from search.evaluation import Evaluation, Rejected, Rejection
from search.storage.trial_record import record_architecture, record_phases, record_spec
from search.strategy.task import Task

Context = TypeVar("Context", bound=WorkerContext)
Trained = TypeVar("Trained")


def run_pipeline(trial: optuna.Trial, task: Task, context: Context, steps: Steps[Context, Trained]) -> Evaluation:
    """Run the pipeline for a trial, and write into it what is known on the way. Raises Rejected.

    Args:
        trial: The running trial.
        task: What it has to do.
        context: What the trials share.
        steps: The steps of the pipeline.
    """
    record_spec(trial, task.spec)
    timer = PhaseTimer()
    context.progress.trial(trial.number, timer.on_status)
    reporter = Reporter(timer, on_epoch=trial.report, on_architecture=partial(record_architecture, trial))
    try:
        result = evaluate_candidate(task, context, steps, reporter)
    finally:
        record_phases(trial, timer.phases)
    if isinstance(result, Rejection):
        raise Rejected(result)
    return result
