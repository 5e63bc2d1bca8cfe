"""Training: augmentation, cosine decay, optional distillation. One loop for the base and every candidate."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import CandidateError
from compress.tensorflow_setup import keras, tf
from compress.training.fast_layers import training_twin

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class TrainPlan:
    """How to train. Stochastic gradient descent, Nesterov momentum 0.9, linear warm-up, cosine decay to zero.

    `weight_decay` is decoupled (Loshchilov and Hutter 2017): 0.005 here acts as 0.0005 of L2 under momentum
    0.9. `distill_weight` is the share of the loss that follows the base's soft labels (Hinton et al. 2015),
    the rest the labels. `crop_padding`: how far an augmented image is moved at most, each way (4: ResNet, He et al.
    2015, section 4.2). `small_crop_epochs`: the first so many epochs see 24 x 24 crops, at half the cost of the
    whole image.
    """

    epochs: int
    learning_rate: float
    batch_size: int = 64
    weight_decay: float = 0.005
    label_smoothing: float = 0.0
    warmup_epochs: float = 0.5
    augment: bool = True
    crop_padding: int = 4
    distill_weight: float = 0.0
    temperature: float = 2.0
    small_crop_epochs: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; `crop_padding` has its stored name, that of the records that are there."""
        return {"shift_pixels" if name == "crop_padding" else name: value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; `accuracy` in percent, on the validation images."""

    number: int
    loss: float
    accuracy: float


def batches(
    images: Images, plan: TrainPlan, rng: np.random.Generator, *, crop: int, flip: bool
) -> Iterator[tuple[NDArray[np.intp], Images]]:
    """One epoch in random order: the indices and the uint8 (B, crop, crop, 3) images of each full batch.

    Shifted crops are cut out of the image padded with zeros, or out of the bare image where `crop` is smaller; half
    of the images are mirrored where `flip` says that a mirror image keeps its label.
    """
    batch_size = min(plan.batch_size, len(images))
    order = rng.permutation(len(images))
    pad = plan.crop_padding if plan.augment and crop == images.shape[1] else 0
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0))) if pad else images
    windows = np.lib.stride_tricks.sliding_window_view(padded, (crop, crop), axis=(1, 2)).transpose(
        0, 1, 2, 4, 5, 3
    )
    shifts = windows.shape[1]
    for start in range(0, len(order) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        if not plan.augment:
            yield chosen, images[chosen]
            continue
        cut = windows[chosen, rng.integers(shifts, size=batch_size), rng.integers(shifts, size=batch_size)]
        if flip:
            mirrored = rng.random(batch_size) < 0.5
            cut[mirrored] = cut[mirrored, :, ::-1]
        yield chosen, cut


class Trainer:
    """Trains one network in place, an epoch at a time; its state can be saved and restored between epochs.

    first_epoch: how many epochs the network, or the one that it inherits from, has been trained for; they are counted
    on for the random order, crops and flips, which would otherwise be the same after each restart. The plan's
    schedule begins anew. step_guard: entered around each training step and each batch of a validation, to hold
    training still for a while; on the way out of it the step has ended.
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
        step_guard: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.network, self.plan, self.seed, self.flip = network, plan, seed, flip
        self.first_epoch, self.step_guard = first_epoch, step_guard
        self.images, self.labels = images, labels
        self.teacher_logits = teacher_logits if plan.distill_weight > 0 else None
        # Quantization-aware networks hold wrapped layers, which have to be trained as they are.
        sequential = all(type(layer).__module__.startswith("tf_keras") for layer in network.layers)
        self.twin = training_twin(network) if sequential else network
        steps = len(images) // min(plan.batch_size, len(images))
        warmup = int(plan.warmup_epochs * steps)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, plan.epochs * steps - warmup), warmup_target=plan.learning_rate, warmup_steps=warmup
        )
        self.optimizer = keras.optimizers.SGD(
            schedule, momentum=0.9, nesterov=True, weight_decay=plan.weight_decay or None
        )
        self.optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self.optimizer.build(self.twin.trainable_variables)
        self._step = tf.function(self._train_step, reduce_retracing=True)
        self._infer = _inference(self.twin)  # once: TensorFlow keeps the memory of each function that it traces

    def _train_step(self, images: Any, labels: Any, teacher: Any) -> Any:
        plan = self.plan
        with tf.GradientTape() as tape:
            logits = _forward(self.twin, images, training=True)
            hard = keras.losses.categorical_crossentropy(
                tf.one_hot(labels, logits.shape[-1]),
                logits,
                from_logits=True,
                label_smoothing=plan.label_smoothing,
            )
            loss = tf.reduce_mean(hard)
            if self.teacher_logits is not None:
                soft = tf.nn.softmax_cross_entropy_with_logits(
                    tf.nn.softmax(teacher / plan.temperature), logits / plan.temperature
                )
                weight = plan.distill_weight
                loss = (1 - weight) * loss + weight * plan.temperature**2 * tf.reduce_mean(soft)
        variables = self.twin.trainable_variables
        gradients = tape.gradient(loss, variables)
        # There is nothing to sum up over replicas, and that would keep this graph for as long as the process lives.
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True), skip_gradients_aggregation=True)
        return loss

    def epoch(self, number: int) -> float:
        """Train epoch `number` of the plan (from 0) and give its mean loss.

        Equal seed and `first_epoch` + number, equal batches. Raises CandidateError when the loss is no longer finite.
        """
        rng = np.random.default_rng((self.seed, self.first_epoch + number))
        size = self.images.shape[1]
        crop = size * 3 // 4 if number < self.plan.small_crop_epochs else size
        losses = []
        for chosen, images in batches(self.images, self.plan, rng, crop=crop, flip=self.flip):
            teacher = self.teacher_logits[chosen] if self.teacher_logits is not None else np.float32(0)
            with self.step_guard():
                step = self._step(tf.constant(images), tf.constant(self.labels[chosen]), tf.constant(teacher))
                losses.append(float(step))  # in here, for it waits until the step has ended
        loss = float(np.mean(losses))
        if not np.isfinite(loss):
            raise CandidateError(
                f"the training loss became {loss} in epoch {number + 1}; lower the learning rate"
            )
        return loss

    def accuracy(self, images: Images, labels: Labels) -> float:
        """Accuracy in percent of the network as it is now."""
        self.finish()
        return _percent_right(_outputs(self._infer, images, guard=self.step_guard), labels)

    def finish(self) -> None:
        """Hand what was learnt to `network`."""
        if self.twin is not self.network:
            self.network.set_weights(self.twin.get_weights())

    def state(self) -> list[NDArray[Any]]:
        """Everything that the next epoch depends on."""
        return [*self.twin.get_weights(), *(variable.numpy() for variable in self.optimizer.variables)]

    def restore(self, state: list[NDArray[Any]]) -> None:
        """Go on from a `state`."""
        count = len(self.twin.get_weights())
        self.twin.set_weights(state[:count])
        for variable, value in zip(self.optimizer.variables, state[count:], strict=True):
            variable.assign(value)


def _forward(network: Any, images: Any, training: bool) -> Any:
    """Outputs before the softmax, if any, layer by layer: the model's own call insists on 32 x 32 images."""
    tensor = tf.cast(images, tf.float32)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Softmax):
            break
        takes_training = getattr(layer, "_expects_training_arg", False)
        tensor = layer(tensor, training=training) if takes_training else layer(tensor)
    return tensor


def train(
    trainer: Trainer,
    validation: tuple[Images, Labels],
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    first: int = 0,
) -> list[Epoch]:
    """Train from epoch `first` to the plan's end, validating after each; what `on_epoch` raises ends it."""
    history = []
    for number in range(first, trainer.plan.epochs):
        loss = trainer.epoch(number)
        epoch = Epoch(number + 1, loss, trainer.accuracy(*validation))
        history.append(epoch)
        on_epoch(epoch)
    return history


def logits(
    network: Any,
    images: Images,
    batch_size: int = 250,
    guard: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> NDArray[np.float32]:
    """The network's outputs before the softmax, float32 (N, 10), without augmentation; `guard` is entered a batch."""
    return _outputs(_inference(network), images, batch_size, guard)


def accuracy(network: Any, images: Images, labels: Labels) -> float:
    """Accuracy in percent."""
    return _percent_right(logits(network, images), labels)


def _inference(network: Any) -> Callable[[Any], Any]:
    """A batch's outputs before the softmax, as a graph that is traced at the first call."""
    function: Callable[[Any], Any] = tf.function(
        lambda images: _forward(network, images, training=False), reduce_retracing=True
    )
    return function


def _outputs(
    infer: Callable[[Any], Any],
    images: Images,
    batch_size: int = 250,
    guard: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(images), batch_size):
        with guard():
            parts.append(infer(tf.constant(images[start : start + batch_size])).numpy())
    return np.concatenate(parts)


def _percent_right(outputs: NDArray[np.float32], labels: Labels) -> float:
    return float(np.mean(outputs.argmax(axis=1) == labels) * 100)
