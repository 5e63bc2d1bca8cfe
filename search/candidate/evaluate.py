"""The accuracy of a model's saved bytes."""

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from compress.datasets.dataset import Dataset
from compress.io import arrays_key
from search.candidate.context import TrialContext
from search.evaluation import Accuracy


def validation_accuracy(context: TrialContext, model: bytes) -> Accuracy:
    """Return the accuracy of the saved bytes on the validation images, as the device runs them."""
    labels = predicted_labels(context, model, context.data.validation[0])
    return accuracy_of(labels, context.data)


def accuracy_of(labels: NDArray[np.int64], data: Dataset) -> Accuracy:
    """Return the accuracy of these labels, int64 (N,), of all validation images."""
    right = labels == data.validation[1]
    return Accuracy(
        validation_percent=float(np.mean(right) * 100),
        search_percent=float(np.mean(right[data.guides]) * 100),
        decision_percent=float(np.mean(right[data.decides]) * 100),
    )


def test_accuracy_percent(context: TrialContext, model: bytes) -> float:
    """Return the accuracy of the saved bytes on all test images, in percent: for reports, never for a choice."""
    images, labels = context.data.test
    context.progress.phase(f"accuracy on all {len(images):,} test images")
    return float(np.mean(predicted_labels(context, model, images) == labels) * 100)


def predicted_labels(context: TrialContext, model: bytes, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the labels, int64 (N,), that the saved bytes give these images on the device, from the cache or now."""
    key = {
        "model": sha256(model).hexdigest(),
        "images": arrays_key([images]),
        "board": dict(context.device_kind),
    }
    stored = context.cache.get("labels", key)
    if stored is not None:
        return np.frombuffer(stored, np.uint8).astype(np.int64)
    labels = context.device.predict(model, images)
    context.cache.put(labels.astype(np.uint8).tobytes(), "labels", key)
    return labels
