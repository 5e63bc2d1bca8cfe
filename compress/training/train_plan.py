"""The settings of a training."""

from dataclasses import asdict, dataclass
from typing import Any

STORED_NAMES = {"crop_padding": "shift_pixels"}
"""Settings that have another name in stored records and checkpoints of a training."""


@dataclass(frozen=True)
class TrainPlan:
    """How to train: stochastic gradient descent, Nesterov momentum 0.9, linear warm-up, cosine decay to zero.

    Args:
        epochs: passes over the training images.
        learning_rate: the rate at the end of the warm-up.
        batch_size: images of a step.
        weight_decay: decoupled (Loshchilov and Hutter 2017): 0.005 acts as 0.0005 of L2 under momentum 0.9.
        label_smoothing: share of the label's probability that is spread over all classes.
        warmup_epochs: epochs over which the rate rises from zero.
        augment: shift and, where the data allows it, mirror the images.
        crop_padding: pixels by which an augmented image is moved at most, each way (4: ResNet, He et al. 2015,
            section 4.2).
        distill_weight: share of the loss that follows the base's soft labels (Hinton et al. 2015).
        temperature: of the soft labels.
        small_crop_epochs: the first epochs, which see 24 x 24 crops at half the cost of the whole image.
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
        """Return JSON-ready values under their stored names."""
        return {STORED_NAMES.get(name, name): value for name, value in asdict(self).items()}
