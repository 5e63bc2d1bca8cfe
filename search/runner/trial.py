"""One trial, from Optuna's parameters to the record that it leaves: read `run_trial` from top to bottom."""

import optuna

from search.candidate.build import checked_operators, convert_trained
from search.candidate.context import TrialContext
from search.candidate.evaluate import validation_accuracy
from search.candidate.measure_candidate import measure_architecture, measure_trained
from search.candidate.pipeline import Steps
from search.candidate.train_candidate import train_candidate
from search.candidate.weights import TrainedWeights, shareable_npz, shared_specs, trained_before
from search.evaluation import Evaluation
from search.runner.run_pipeline import run_pipeline
from search.storage.artifacts import upload_artifacts
from search.storage.trial_history import TrialHistory
from search.storage.trial_record import MODEL, WEIGHTS, WINDOWS, record_evaluation
from search.strategy.search_space import suggest_spec
from search.strategy.task import Requirements, Task, final_training_task, search_task

SEARCH_STEPS: Steps[TrialContext, TrainedWeights] = Steps(
    measure_architecture=measure_architecture,
    train=train_candidate,
    convert=lambda task, context, trained: convert_trained(context, task.spec, trained),
    operators=lambda task, model: checked_operators(task.spec, model),
    accuracy=lambda task, context, model: validation_accuracy(context, model),
    measure=measure_trained,
    test_accuracy=lambda context, model: None,  # a choice is still to be made
)


def run_trial(trial: optuna.Trial, context: TrialContext, history: TrialHistory, deadline_s: float) -> float:
    """Choose, build, train and measure one candidate; return the objective's value.

    Args:
        trial: The running trial.
        context: What the trials of this run share.
        history: The trials of the study.
        deadline_s: `time.monotonic()` when the budget ends.

    Raises:
        Rejected: The candidate cannot win, or cannot meet the accuracy constraint.
        CandidateError: It cannot be converted.
        EdgeError: It cannot be measured.
    """
    config = context.config
    records = history.records()
    requirements = Requirements(context.constraint_percent, context.required_percent, deadline_s)
    suggested = suggest_spec(trial, config)  # for a final training too: the sampler learns from its parameters
    if records[trial.number].is_refinement:
        task = final_training_task(records[trial.number], records, config, requirements)
    else:
        parents = [*shared_specs(context, records), *trained_before(context)]
        task = search_task(suggested, parents, records, config, requirements)
    evaluation = run_pipeline(trial, task, context, SEARCH_STEPS)
    record_candidate(trial, task, context, evaluation)
    return evaluation.value


def record_candidate(trial: optuna.Trial, task: Task, context: TrialContext, evaluation: Evaluation) -> None:
    """Keep model, windows and small weights as artifacts, and write the evaluation.

    Args:
        trial: The running trial.
        task: What it had to do.
        context: What the trials share.
        evaluation: What the pipeline returned.

    Raises:
        UnavailableError: The artifacts cannot be written now.
    """
    files = {MODEL: evaluation.model, WINDOWS: evaluation.measurement.to_json().encode()}
    weights = shareable_npz(context, task.spec)
    if weights is not None:
        files[WEIGHTS] = weights
    artifacts = upload_artifacts(trial, context.artifacts, files)
    record_evaluation(trial, evaluation, artifacts, context.weights_key)
