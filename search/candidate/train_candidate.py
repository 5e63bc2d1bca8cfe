"""From a spec to trained weights: from the cache, or by training the candidate and what it starts from."""

import functools
import time
from collections.abc import Callable

from compress.network import Weights, build, quantization_aware
from compress.prune import inherit, resize
from compress.spec import CompressionSpec
from compress.tensorflow_setup import keras
from compress.training.train import Epoch, Trainer, train
from compress.training.train_plan import TrainPlan
from search.candidate.context import TrialContext
from search.candidate.weights import (
    TrainedWeights,
    cache_npz,
    cached_weights,
    fetch_weights,
    untrained_specs,
)
from search.evaluation import EndReason, Rejected, Rejection
from search.strategy.early_stopping import reachable_percent
from search.strategy.task import Task
from search.strategy.warm_start import QAT_SHARE


def train_candidate(
    task: Task, context: TrialContext, on_epoch: Callable[[float, int], None]
) -> TrainedWeights | Rejection:
    """Return the trained candidate, from this host's cache, from another worker, or trained now.

    Returns a rejection where the required accuracy is out of reach, or where the budget would end before the training:
    the candidate's own or that of a parent that must be trained first. Calls `on_epoch(accuracy_percent, epoch)` after
    each epoch of its own. Raises UnavailableError where other workers' weights cannot be read.
    """
    fetch_weights(context, task.records, task.spec)
    watch = _Watch(task, context, on_epoch)
    try:
        trained = train_with_parents(context, task.spec, watch.on_own_epoch, watch.on_parent_epoch)
    except Rejected as stopped:
        return stopped.rejection
    if not watch.curve:  # from the cache: reported, but no longer judged
        for epoch, percent in enumerate(trained.curve, 1):
            on_epoch(percent, epoch)
    return trained


class _Watch:
    """Watches a training: shows each epoch, and raises Rejected where going further is of no use."""

    def __init__(self, task: Task, context: TrialContext, on_epoch: Callable[[float, int], None]) -> None:
        self.curve: list[float] = []
        self._task = task
        self._progress = context.progress
        self._on_epoch = on_epoch
        self._started_s = time.monotonic()
        first = next(iter(untrained_specs(context, task.spec)), task.spec)
        name = "training" if first is task.spec else "training a parent"
        self._progress.phase(f"{name}, epoch 0/{first.epochs}")

    def on_parent_epoch(self, parent: CompressionSpec, epoch: Epoch) -> None:
        """Check the time after an epoch of a parent."""
        self._progress.phase(f"training a parent, epoch {epoch.number}/{parent.epochs}, {epoch.accuracy:.1f} %")
        self._check_time(epoch.number, parent.epochs)
        if epoch.number == parent.epochs:  # the next training begins
            self._started_s = time.monotonic()

    def on_own_epoch(self, epoch: Epoch) -> None:
        """Report an epoch of the candidate; check its accuracy and the time unless it was the last one."""
        epochs = self._task.spec.epochs
        self.curve.append(epoch.accuracy)
        done = len(self.curve)
        self._on_epoch(epoch.accuracy, done)
        self._progress.phase(f"training, epoch {done}/{epochs}, {epoch.accuracy:.1f} %")
        if done == epochs:  # trained to the end: others can start from it, however good it is
            return
        self._check_accuracy(epoch.accuracy)
        self._check_time(done, epochs)

    def _check_accuracy(self, percent: float) -> None:
        epochs = self._task.spec.epochs
        reachable = reachable_percent(self.curve, epochs)
        least = self._task.least_percent
        if reachable >= least:
            return
        message = (
            f"out of reach: {percent:.1f} % after {len(self.curve)} of {epochs} epochs points to at most "
            f"{reachable:.1f} %, {least:.1f} % is required"
        )
        raise Rejected(Rejection(EndReason.OUT_OF_REACH, message, predicted_violation=least - reachable))

    def _check_time(self, done: int, epochs: int) -> None:
        if self._task.incumbent is None:  # the first feasible candidate is worth waiting for
            return
        now_s = time.monotonic()
        end_s = now_s + (now_s - self._started_s) / done * (epochs - done)
        late_s = end_s - self._task.requirements.deadline_s
        if late_s > 0:
            message = f"out of time: its training would end {late_s:.0f} s too late"
            raise Rejected(Rejection(EndReason.OUT_OF_TIME, message))


def train_with_parents(
    context: TrialContext,
    spec: CompressionSpec,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_parent_epoch: Callable[[CompressionSpec, Epoch], None] = lambda parent, epoch: None,
) -> TrainedWeights:
    """Return the trained network of a spec, from the cache or trained now; its missing parents likewise.

    Args:
        context: What the trials share.
        spec: The candidate.
        on_epoch: Called after each epoch of its own that is trained now.
        on_parent_epoch: Called after each epoch of a parent that is trained now.
    """
    stored = cached_weights(context, spec)
    if stored is not None:
        return stored
    first = _first_weights(context, spec, on_parent_epoch)
    curve: list[float] = []

    def note(epoch: Epoch) -> None:
        curve.append(epoch.accuracy)
        on_epoch(epoch)

    weights = fine_tune(context, spec, first, note)
    trained = TrainedWeights(weights, tuple(curve))
    cache_npz(context, spec, trained.to_npz())
    return trained


def _first_weights(
    context: TrialContext, spec: CompressionSpec, on_parent_epoch: Callable[[CompressionSpec, Epoch], None]
) -> Weights:
    """Return the weights with which the training begins: inherited from the base, or resized from the parent's."""
    parent = spec.parent
    if parent is None:
        return inherit(context.base, spec)
    trained = train_with_parents(context, parent, functools.partial(on_parent_epoch, parent), on_parent_epoch)
    return resize(trained.weights, parent.architecture(), spec.architecture())


def fine_tune(
    context: TrialContext, spec: CompressionSpec, first: Weights, on_epoch: Callable[[Epoch], None]
) -> Weights:
    """Return the weights after the training of a spec, begun with the weights `first`.

    Networks of earlier calls must be out of use: what Keras keeps of them is dropped.

    Args:
        context: What the trials share.
        spec: The candidate.
        first: The weights to begin with.
        on_epoch: Called after each epoch.
    """
    keras.backend.clear_session()
    network = build(spec.architecture())
    network.set_weights(first)
    aware_epochs = _aware_epochs(spec)
    plain_epochs = spec.epochs - aware_epochs
    inherited_epochs = spec.all_epochs - spec.epochs
    if plain_epochs > 0:
        plan = _train_plan(context, spec, plain_epochs, spec.learning_rate)
        _train(context, network, plan, inherited_epochs, on_epoch)
    if aware_epochs > 0:
        exported = build(spec.architecture(), for_export=True)
        exported.set_weights(network.get_weights())
        network = quantization_aware(exported)
        plan = _train_plan(context, spec, aware_epochs, spec.learning_rate / 10)
        _train(context, network, plan, inherited_epochs + max(0, plain_epochs), on_epoch)
    return list(network.get_weights())


def _aware_epochs(spec: CompressionSpec) -> int:
    """Return how many epochs, the last ones, train the quantization-aware network."""
    if not spec.quantization.needs_aware_training:
        return 0
    return max(1, spec.epochs if spec.parent else spec.epochs // QAT_SHARE)


def _train_plan(context: TrialContext, spec: CompressionSpec, epochs: int, learning_rate: float) -> TrainPlan:
    return TrainPlan(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=context.config.training.batch_size,
        augment=spec.augment,
        crop_padding=context.config.training.crop_padding,
        distill_weight=spec.distill_weight,
    )


def _train(
    context: TrialContext, network: object, plan: TrainPlan, first_epoch: int, on_epoch: Callable[[Epoch], None]
) -> None:
    teacher = context.teacher_logits() if plan.distill_weight > 0 else None
    trainer = Trainer(
        network,
        plan,
        *context.data.train,
        seed=context.config.seed,
        flip=context.data.flip,
        first_epoch=first_epoch,
        teacher_logits=teacher,
        step_guard=lambda: context.training_place,
    )
    train(trainer, context.data.search_part, on_epoch)
    trainer.finish()
