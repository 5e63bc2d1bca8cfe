"""Between Optuna and the pipeline: what the trials of a search, a grid and a dry run have in common."""

from functools import partial
from typing import TypeVar

import optuna

from search.candidate.phase_timer import PhaseTimer
from search.candidate.pipeline import Reporter, Steps, evaluate_candidate
from search.candidate.worker_context import WorkerContext
from search.evaluation import ArchitectureResult, Evaluation, Rejected, Rejection
from search.storage.trial_record import (
    record_architecture,
    record_architecture_windows,
    record_phases,
    record_spec,
)
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
    architectures: list[ArchitectureResult] = []
    reporter = Reporter(timer, trial.report, partial(_keep_architecture, trial, architectures))
    result: Evaluation | Rejection | None = None
    try:
        result = evaluate_candidate(task, context, steps, reporter)
    finally:
        record_phases(trial, timer.phases)
        if architectures and not isinstance(result, Evaluation):  # a trained model has windows of its own
            record_architecture_windows(trial, architectures[-1])
    if isinstance(result, Rejection):
        raise Rejected(result)
    return result


def _keep_architecture(trial: optuna.Trial, kept: list[ArchitectureResult], found: ArchitectureResult) -> None:
    kept.append(found)
    record_architecture(trial, found)
