"""One trial from its spec to an evaluation: the way of every trial of a search, a grid and a dry run.

Read `evaluate_candidate` from top to bottom. It knows neither Optuna nor TensorFlow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from edge.measuring.measurement import Measurement
from search.candidate.phase_timer import PhaseTimer
from search.candidate.worker_context import WorkerContext
from search.evaluation import (
    Accuracy,
    ArchitectureResult,
    EndReason,
    Evaluation,
    Phase,
    Rejection,
)
from search.strategy.task import Task

Context = TypeVar("Context", bound=WorkerContext)
Trained = TypeVar("Trained")


@dataclass(frozen=True)
class Reporter:
    """Who hears of a trial while it runs.

    `on_epoch(accuracy_percent, epoch)` is called after each epoch of the candidate, `on_architecture` when the speed of
    its architecture is known.
    """

    timer: PhaseTimer
    on_epoch: Callable[[float, int], None]
    on_architecture: Callable[[ArchitectureResult], None]


@dataclass(frozen=True)
class Steps(Generic[Context, Trained]):
    """The steps of a trial. A grid leaves out the first, a dry run makes up what it does not train.

    Args:
        measure_architecture: Measures the untrained architecture; None where it decides nothing.
        train: Returns the trained network, or a rejection when it is stopped.
        convert: Returns the bytes of the model. Raises CandidateError.
        operators: Returns the model's operators, checked against the spec, and their numbers. Raises CandidateError.
        accuracy: Returns the accuracy of the saved bytes on the validation images.
        measure: Measures the saved bytes on the device.
        test_accuracy: Returns the accuracy on all test images in percent, or None where a choice is still to be made.
    """

    measure_architecture: Callable[[Task, Context, PhaseTimer], ArchitectureResult] | None
    train: Callable[[Task, Context, Callable[[float, int], None]], Trained | Rejection]
    convert: Callable[[Task, Context, Trained], bytes]
    operators: Callable[[Task, bytes], dict[str, int]]
    accuracy: Callable[[Task, Context, bytes], Accuracy]
    measure: Callable[[Task, Context, bytes, ArchitectureResult | None], Measurement]
    test_accuracy: Callable[[Context, bytes], float | None]


def evaluate_candidate(
    task: Task, context: Context, steps: Steps[Context, Trained], reporter: Reporter
) -> Evaluation | Rejection:
    """Build, train and measure one candidate; give it up as soon as it cannot win or cannot meet the constraint.

    Raises CandidateError where it cannot be converted, EdgeError where it cannot be measured.
    """
    timer, progress = reporter.timer, context.progress
    rejection = _check_bound(task, context)
    if rejection is not None:
        return rejection

    architecture = None
    if steps.measure_architecture is not None:
        with timer.phase(Phase.ARCHITECTURE):
            progress.phase("measuring the architecture")
            architecture = steps.measure_architecture(task, context, timer)
        reporter.on_architecture(architecture)
        if not architecture.can_win:
            return _too_slow(task, architecture)

    with timer.phase(Phase.TRAIN):
        trained = steps.train(task, context, reporter.on_epoch)
    if isinstance(trained, Rejection):
        return trained

    with timer.phase(Phase.CONVERT):
        progress.phase("converting")
        model = steps.convert(task, context, trained)
    operators = steps.operators(task, model)

    with timer.phase(Phase.MEASURE):
        progress.phase("accuracy on the validation images")
        accuracy = steps.accuracy(task, context, model)
        progress.phase("measuring")
        measurement = steps.measure(task, context, model, architecture)
        test_accuracy_percent = steps.test_accuracy(context, model)

    needed = task.requirements
    return Evaluation(
        value=context.objective.value_of(measurement, accuracy.search_percent),
        model=model,
        operators=operators,
        accuracy=accuracy,
        measurement=measurement,
        constraint_violation=accuracy.violation(needed.constraint_percent, needed.required_percent),
        predicted_violation=needed.required_percent - accuracy.search_percent - task.expected_gain,
        test_accuracy_percent=test_accuracy_percent,
    )


def _check_bound(task: Task, context: WorkerContext) -> Rejection | None:
    """Reject a candidate with more arithmetic than the fastest hardware seen could do in the incumbent's time."""
    if task.incumbent is None:
        return None
    macs = task.spec.architecture().macs
    bound = context.objective.bound(macs, task.measured_architectures)
    if bound is None or context.objective.is_better(bound, task.incumbent.value):
        return None
    return Rejection(
        EndReason.MAC_BOUND,
        f"cannot win: {macs:,} MACs allow {bound:.4g} at most, the best so far has {task.incumbent.value:.4g}",
    )


def _too_slow(task: Task, architecture: ArchitectureResult) -> Rejection:
    assert task.incumbent is not None and architecture.advantage is not None  # it was compared
    return Rejection(
        EndReason.SLOWER_ARCHITECTURE,
        f"cannot win: {architecture.best_case:.4g} at 100 % accuracy, the best so far has {task.incumbent.value:.4g}; "
        f"it is {architecture.advantage:.3f} times as good as the architecture of trial {task.incumbent.number}",
    )
