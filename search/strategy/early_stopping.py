"""What a candidate's accuracy must and can reach: pure arithmetic, no Optuna."""

import math
from collections.abc import Sequence
from statistics import NormalDist

ANNEALING_GAIN = 8.0
"""Points of accuracy that the end of a cosine decay brings on top of the trend, generously: the curves of
`thrones report` show 3 to 6."""

MAX_INHERITED_RATIO = 5
"""Inherited epochs count up to this many times a candidate's own. Candidates with 4 epochs of their own and up to 20
inherited ones gained 2.0 to 2.2 points for each doubling of all epochs in the final training. One with 60 inherited
epochs lost 3 points relative to its parent."""


def gain_to_come(epochs: int, inherited_epochs: int, more_epochs: int, points_per_doubling: float) -> float:
    """Return the points of accuracy that `more_epochs` are expected to add.

    Accuracy rises linearly with the logarithm of all epochs, `points_per_doubling` being the slope of that curve. A
    candidate starts from its parent's weights, cut to another shape, at a high learning rate: therefore the parent's
    epochs count up to MAX_INHERITED_RATIO times its own.

    Args:
        epochs: The candidate's own epochs.
        inherited_epochs: The epochs of its parent chain.
        more_epochs: The epochs to come.
        points_per_doubling: What twice the epochs add, in points.
    """
    known = epochs + min(inherited_epochs, MAX_INHERITED_RATIO * epochs)
    return points_per_doubling * math.log2(1 + more_epochs / max(1, known))


def accuracy_sigma(percent: float, *image_counts: int) -> float:
    """Return the standard deviation, in points, of the difference of accuracies on these numbers of images.

    Each is a binomial count of one true accuracy p: sqrt(p (1 - p) sum(1 / n)).
    """
    share = percent / 100
    return 100 * math.sqrt(share * (1 - share) * sum(1 / count for count in image_counts))


def required_percent(constraint_percent: float, sigmas: float, decision_images: int, test_images: int) -> float:
    """Return the accuracy to require on the images that decide, so that the test accuracy meets the constraint.

    Args:
        constraint_percent: The least test accuracy.
        sigmas: How many standard deviations of the difference of the two accuracies are added.
        decision_images: The number of validation images that decide.
        test_images: The number of test images.
    """
    sigma = accuracy_sigma(constraint_percent, decision_images, test_images)
    return min(100.0, constraint_percent + sigmas * sigma)


def holding_probability(
    constraint_percent: float, accuracy_percent: float, decision_images: int, test_images: int, tried: int = 1
) -> float:
    """Return how likely, 0..1, the test accuracy meets the constraint; it is a lower bound.

    The normal approximation of `required_percent`. The best of several owes some of its accuracy to luck: any of the
    `tried` networks may have passed for that alone, so the chance of a mistake counts once for each (Bonferroni).

    Args:
        constraint_percent: The least test accuracy.
        accuracy_percent: The accuracy on the images that decide.
        decision_images: The number of validation images that decide.
        test_images: The number of test images.
        tried: How many networks were held against the constraint.
    """
    sigma = accuracy_sigma(constraint_percent, decision_images, test_images)
    if sigma == 0:  # a constraint of 0 or 100 % leaves nothing to chance
        return float(accuracy_percent >= constraint_percent)
    mistake = NormalDist().cdf((constraint_percent - accuracy_percent) / sigma)
    return max(0.0, 1 - max(1, tried) * mistake)


def reachable_percent(curve: Sequence[float], epochs: int) -> float:
    """Return an upper estimate of the accuracy after all `epochs`, from the accuracies after the first few.

    Learning curves rise about evenly with the logarithm of the epochs: the gain since half as many epochs is granted
    again for each doubling left, and ANNEALING_GAIN on top. Before the third epoch, and before a quarter of
    them is over, nothing is known: 100. (Flat starts and dips are common while the learning rate is high.)
    """
    done = len(curve)
    if done >= epochs:
        return curve[-1]
    if done < max(3, epochs / 4):
        return 100.0
    best = max(curve)
    per_doubling = max(0.0, best - curve[done // 2 - 1])
    return min(100.0, best + per_doubling * math.log2(epochs / done) + ANNEALING_GAIN)
