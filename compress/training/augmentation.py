"""Batches of shifted and mirrored images."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from compress.datasets.dataset import Images
from compress.training.train_plan import TrainPlan


def batches(
    images: Images, plan: TrainPlan, rng: np.random.Generator, *, crop: int, flip: bool
) -> Iterator[tuple[NDArray[np.intp], Images]]:
    """Yield one epoch in random order: indices and images, uint8 (B, crop, crop, 3), of each full batch.

    Args:
        images: uint8 (N, S, S, 3).
        plan: its batch size and augmentation.
        rng: decides order, shifts and mirroring.
        crop: height and width of the yielded images. Shifted crops are cut out of the image padded with zeros,
            or out of the bare image where `crop` is smaller.
        flip: mirror half of the images.
    """
    batch_size = min(plan.batch_size, len(images))
    order = rng.permutation(len(images))
    padded = images
    if plan.augment and plan.crop_padding and crop == images.shape[1]:
        pad = (plan.crop_padding, plan.crop_padding)
        padded = np.pad(images, ((0, 0), pad, pad, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (crop, crop), axis=(1, 2))
    windows = windows.transpose(0, 1, 2, 4, 5, 3)  # (N, shifts down, shifts right, crop, crop, 3)
    shifts = windows.shape[1]
    for start in range(0, len(order) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        if not plan.augment:
            yield chosen, images[chosen]
            continue
        down = rng.integers(shifts, size=batch_size)
        right = rng.integers(shifts, size=batch_size)
        cut = windows[chosen, down, right]
        if flip:
            mirrored = rng.random(batch_size) < 0.5
            cut[mirrored] = cut[mirrored, :, ::-1]
        yield chosen, cut
