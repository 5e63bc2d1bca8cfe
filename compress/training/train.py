"""Training with optional distillation. One loop for the base and every candidate."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.datasets.dataset import Images, Labels
from compress.errors import CandidateError
from compress.tensorflow_setup import keras, tf
from compress.training.augmentation import batches
from compress.training.fast_layers import fast_model
from compress.training.train_plan import TrainPlan

Guard = Callable[[], AbstractContextManager[object]]
"""Gives a context that is entered around each step of TensorFlow; when it is left, the step has ended."""
MOMENTUM = 0.9


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch, counted from 1; `accuracy` in percent, on the validation images."""

    number: int
    loss: float
    accuracy: float


class Trainer:
    """Train one network in place, an epoch at a time; its state can be saved and restored between epochs.

    Args:
        network: as `build` returns it, or quantization-aware.
        plan: how to train. Its schedule begins anew.
        images: uint8 (N, 32, 32, 3).
        labels: int64 (N,).
        seed: of the random order, shifts and mirroring.
        flip: mirror half of the images.
        first_epoch: epochs that the network, or the one that it inherits from, has been trained for. Random
            numbers depend on it; without it each restart would see the same order.
        teacher_logits: float32 (N, 10), the base's outputs for `images`; needed for distillation.
        step_guard: entered around each training step and each batch of a validation.
    """

    def __init__(
        self,
        network: Any,
        plan: TrainPlan,
        images: Images,
        labels: Labels,
        *,
        seed: int,
        flip: bool,
        first_epoch: int = 0,
        teacher_logits: NDArray[np.float32] | None = None,
        step_guard: Guard = nullcontext,
    ) -> None:
        self.network = network
        self.plan = plan
        self.images = images
        self.labels = labels
        self.seed = seed
        self.flip = flip
        self.first_epoch = first_epoch
        self.teacher_logits = teacher_logits if plan.distill_weight > 0 else None
        self.step_guard = step_guard
        self.fast_model = network
        # Quantization-aware networks hold wrapped layers, which have to be trained as they are.
        if all(type(layer).__module__.startswith("tf_keras") for layer in network.layers):
            self.fast_model = fast_model(network)
        self.optimizer = _optimizer(plan, len(images))
        self.optimizer.build(self.fast_model.trainable_variables)
        self._step = tf.function(self._train_step, reduce_retracing=True)
        # Once: TensorFlow keeps the memory of each function that it traces.
        self._infer = _inference(self.fast_model)

    def _train_step(self, images: Any, labels: Any, teacher: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = _forward(self.fast_model, images, training=True)
            loss = self._loss(logits, labels, teacher)
        variables = self.fast_model.trainable_variables
        gradients = tape.gradient(loss, variables)
        # There is nothing to sum up over replicas, and that would keep this graph for as long as the process lives.
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True), skip_gradients_aggregation=True)
        return loss

    def _loss(self, logits: Any, labels: Any, teacher: Any) -> Any:
        plan = self.plan
        hard = keras.losses.categorical_crossentropy(
            tf.one_hot(labels, logits.shape[-1]),
            logits,
            from_logits=True,
            label_smoothing=plan.label_smoothing,
        )
        loss = tf.reduce_mean(hard)
        if self.teacher_logits is None:
            return loss
        soft = tf.nn.softmax_cross_entropy_with_logits(
            tf.nn.softmax(teacher / plan.temperature), logits / plan.temperature
        )
        weight = plan.distill_weight
        return (1 - weight) * loss + weight * plan.temperature**2 * tf.reduce_mean(soft)

    def epoch(self, number: int) -> float:
        """Train epoch `number` of the plan, counted from 0, and return its mean loss.

        Equal seed and equal `first_epoch` + `number` give equal batches. Raises CandidateError when the loss is
        no longer finite.
        """
        rng = np.random.default_rng((self.seed, self.first_epoch + number))
        crop = self.images.shape[1]
        if number < self.plan.small_crop_epochs:
            crop = crop * 3 // 4
        losses = []
        for chosen, images in batches(self.images, self.plan, rng, crop=crop, flip=self.flip):
            teacher = np.float32(0) if self.teacher_logits is None else self.teacher_logits[chosen]
            with self.step_guard():
                step = self._step(tf.constant(images), tf.constant(self.labels[chosen]), tf.constant(teacher))
                losses.append(float(step))  # inside the guard: float() waits until the step has ended
        loss = float(np.mean(losses))
        if not np.isfinite(loss):
            raise CandidateError(
                f"the training loss became {loss} in epoch {number + 1}", remedy="lower the learning rate"
            )
        return loss

    def accuracy(self, images: Images, labels: Labels) -> float:
        """Return the accuracy in percent of the network as it is now."""
        self.finish()
        return _percent_right(_outputs(self._infer, images, guard=self.step_guard), labels)

    def finish(self) -> None:
        """Copy the trained weights to `network`."""
        if self.fast_model is not self.network:
            self.network.set_weights(self.fast_model.get_weights())

    def state(self) -> list[NDArray[Any]]:
        """Return everything that the next epoch depends on."""
        return [*self.fast_model.get_weights(), *(variable.numpy() for variable in self.optimizer.variables)]

    def restore(self, state: list[NDArray[Any]]) -> None:
        """Continue from a `state`."""
        count = len(self.fast_model.get_weights())
        self.fast_model.set_weights(state[:count])
        for variable, value in zip(self.optimizer.variables, state[count:], strict=True):
            variable.assign(value)


def _optimizer(plan: TrainPlan, image_count: int) -> Any:
    steps = image_count // min(plan.batch_size, image_count)
    warmup_steps = int(plan.warmup_epochs * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, plan.epochs * steps - warmup_steps),
        warmup_target=plan.learning_rate,
        warmup_steps=warmup_steps,
    )
    optimizer = keras.optimizers.SGD(
        schedule, momentum=MOMENTUM, nesterov=True, weight_decay=plan.weight_decay or None
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def _forward(network: Any, images: Any, training: bool) -> Any:
    """Return the outputs before the softmax, if any, layer by layer: the model's own call insists on 32 x 32 images.
    """
    tensor = tf.cast(images, tf.float32)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Softmax):
            break
        if getattr(layer, "_expects_training_arg", False):
            tensor = layer(tensor, training=training)
        else:
            tensor = layer(tensor)
    return tensor


def train(
    trainer: Trainer,
    validation: tuple[Images, Labels],
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    first: int = 0,
) -> list[Epoch]:
    """Train from epoch `first` to the plan's end, and validate after each epoch.

    Args:
        trainer: the network and its plan.
        validation: images and labels for the accuracy after each epoch.
        on_epoch: called after each epoch; an exception that it raises ends the training.
        first: the epochs before this one are done.
    """
    history = []
    for number in range(first, trainer.plan.epochs):
        loss = trainer.epoch(number)
        epoch = Epoch(number + 1, loss, trainer.accuracy(*validation))
        history.append(epoch)
        on_epoch(epoch)
    return history


def logits(network: Any, images: Images, batch_size: int = 250, guard: Guard = nullcontext) -> NDArray[np.float32]:
    """Return the network's outputs before the softmax, float32 (N, 10), without augmentation."""
    return _outputs(_inference(network), images, batch_size, guard)


def accuracy(network: Any, images: Images, labels: Labels) -> float:
    """Return the accuracy in percent."""
    return _percent_right(logits(network, images), labels)


def _inference(network: Any) -> Callable[[Any], Any]:
    """Return a graph of a batch's outputs before the softmax; it is traced at the first call."""
    function: Callable[[Any], Any] = tf.function(
        lambda images: _forward(network, images, training=False), reduce_retracing=True
    )
    return function


def _outputs(
    infer: Callable[[Any], Any], images: Images, batch_size: int = 250, guard: Guard = nullcontext
) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(images), batch_size):
        with guard():
            parts.append(infer(tf.constant(images[start : start + batch_size])).numpy())
    return np.concatenate(parts)


def _percent_right(outputs: NDArray[np.float32], labels: Labels) -> float:
    return float(np.mean(outputs.argmax(axis=1) == labels) * 100)
