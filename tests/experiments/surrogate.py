"""Latency and accuracy of any candidate, guessed from the table of those that were measured."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import candidates
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct, Kernel, Matern, WhiteKernel
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from compress.architecture import IMAGE_SIZE, Architecture
from compress.quantization import Quantization
from compress.spec import CompressionSpec

EPOCHS = 44
"""The accuracy after so many is asked for: those of a finalist and of a first training."""
POSITIONS = 5
"""The widths and map sizes of so many layers are told apart; the last one stands for those that lack."""
FIT_ON = 400
"""Candidates that the kernels are chosen by; all are regressed on."""
SCALES = (0.5, 500.0)
Floats = NDArray[np.float64]
Predictor = Callable[[Sequence[CompressionSpec]], tuple[Floats, Floats]]
"""Means and standard deviations of logarithms."""


class Surrogate:
    """Latency in ms and accuracy in percent of any specification, learnt from a table.

    caution: so many standard deviations of what the table does not know are added to latency and error. Latencies of
    the formats in `quantizations` only: others run on slow kernels.
    """

    def __init__(
        self, table: Sequence[candidates.Recorded], quantizations: Sequence[str], caution: float = 0.0
    ) -> None:
        timed = [row for row in table if row.spec.quantization in quantizations]
        trained = [row for row in table if row.accuracy_percent is not None]
        self._caution = caution
        self._timed = [row.spec for row in timed], np.log([row.latency_ms for row in timed])
        errors = np.log([100 - (row.accuracy_percent or 0.0) for row in trained])  # they fall like a power law
        self._trained = [row.spec for row in trained], errors
        self._latency, self._error = fit_latency(*self._timed), fit_error(*self._trained)

    def latency_ms(self, spec: CompressionSpec) -> float:
        """The latency that is expected, or worse."""
        mean, deviation = self._latency([spec])
        return float(np.exp(mean + self._caution * deviation)[0])

    def accuracy_percent(self, spec: CompressionSpec, epochs: int = EPOCHS) -> float:
        """The accuracy that is expected after so many epochs, or worse."""
        mean, deviation = self._error([replace(spec, epochs=epochs)])
        return float(max(0.0, 100 - np.exp(mean + self._caution * deviation)[0]))

    def quality(self) -> dict[str, float]:
        """How far predictions for candidates that were left out lie from what was measured: mean error and ranks."""
        latency, measured = np.exp(_left_out(fit_latency, *self._timed)), np.exp(self._timed[1])
        accuracy, reached = 100 - np.exp(_left_out(fit_error, *self._trained)), 100 - np.exp(self._trained[1])
        return {
            "latencies": len(measured),
            "latency error [%]": round(float(np.mean(np.abs(latency / measured - 1))) * 100, 1),
            "latency rank correlation": round(float(spearmanr(latency, measured)[0]), 3),
            "accuracies": len(reached),
            "accuracy error [points]": round(float(np.mean(np.abs(accuracy - reached))), 2),
            "accuracy rank correlation": round(float(spearmanr(accuracy, reached)[0]), 3),
        }


def fit_latency(specs: Sequence[CompressionSpec], log_ms: Floats) -> Predictor:
    """A price for each layer and each kind of arithmetic, and a Gaussian process of what they miss."""

    def priced(specs: Sequence[CompressionSpec]) -> Floats:
        return np.asarray(np.log(np.array([work(spec) for spec in specs]) @ prices))

    prices, _ = nnls(np.array([work(spec) for spec in specs]) / np.exp(log_ms)[:, None], np.ones(len(specs)))
    missed = _process(1.0 * Matern(5.0, SCALES, nu=2.5), np.array([features(s) for s in specs]), log_ms - priced(specs))

    def predict(specs: Sequence[CompressionSpec]) -> tuple[Floats, Floats]:
        mean, deviation = missed(np.array([features(spec) for spec in specs]))
        return mean + priced(specs), deviation

    return predict


def fit_error(specs: Sequence[CompressionSpec], log_error: Floats) -> Predictor:
    """A Gaussian process around a straight line."""

    def inputs(specs: Sequence[CompressionSpec]) -> Floats:
        return np.array([[*features(spec), math.log2(max(1, spec.epochs))] for spec in specs])

    process = _process(1.0 * DotProduct(1.0) + 1.0 * Matern(5.0, SCALES, nu=2.5), inputs(specs), log_error)
    return lambda specs: process(inputs(specs))


def _process(kernel: Kernel, inputs: Floats, targets: Floats) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Mean and standard deviation, without that of the noise, from a Gaussian process."""
    scale = StandardScaler().fit(inputs)
    scaled = scale.transform(inputs)
    chosen = np.random.default_rng(0).permutation(len(targets))[:FIT_ON]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a parameter at its limit
        tuned = GaussianProcessRegressor(kernel + WhiteKernel(0.1), normalize_y=True)
        kernel = tuned.fit(scaled[chosen], targets[chosen]).kernel_
    process = GaussianProcessRegressor(kernel, optimizer=None, normalize_y=True).fit(scaled, targets)
    noise = kernel.k2.noise_level * np.var(targets)

    def predict(inputs: Floats) -> tuple[Floats, Floats]:
        mean, deviation = process.predict(scale.transform(inputs), return_std=True)
        return mean, np.sqrt(np.maximum(0.0, deviation**2 - noise))

    return predict


def _left_out(fit: Callable[..., Predictor], specs: Sequence[CompressionSpec], targets: Floats) -> Floats:
    predicted = np.empty_like(targets)
    for rest, out in KFold(5, shuffle=True, random_state=0).split(specs):
        predicted[out] = fit([specs[n] for n in rest], targets[rest])([specs[n] for n in out])[0]
    return predicted


def work(spec: CompressionSpec) -> list[float]:
    """What time is spent on: layers, arithmetic by kind with channels in eights, values; in integers, or in floats."""
    layers, *arithmetic = _amounts(spec.architecture(), 8)
    amounts = [1 + 2.0 * layers, *arithmetic]
    integer = is_integer(spec)
    return [*(amount * integer for amount in amounts), *(amount * (not integer) for amount in amounts)]


def is_integer(spec: CompressionSpec) -> bool:
    """Whether it runs on integer kernels."""
    return spec.quantization.post_training is Quantization.INT8


def _amounts(shape: Architecture, lanes: int = 1) -> tuple[int, int, int, int, int]:
    """Blocks, MACs of stem, depthwise and pointwise convolutions, and values between layers."""
    size, channels = -(-IMAGE_SIZE // shape.stem_stride), -(-shape.stem_width // lanes) * lanes
    stem, depthwise, pointwise, values = size * size * 27 * channels, 0, 0, size * size * channels
    for block in shape.blocks:
        size, width = -(-size // block.stride), -(-block.width // lanes) * lanes
        depthwise += size * size * channels * 9
        pointwise += size * size * channels * width
        values += size * size * (channels + width)
        channels = width
    return len(shape.blocks), stem, depthwise, pointwise, values


def features(spec: CompressionSpec) -> list[float]:
    """What speed and accuracy follow from: widths and map sizes by position, arithmetic by kind, format."""
    shape = spec.architecture()
    sizes = [-(-IMAGE_SIZE // shape.stem_stride)]
    for block in shape.blocks:
        sizes.append(-(-sizes[-1] // block.stride))
    positions = [*range(len(sizes)), *[-1] * POSITIONS][:POSITIONS]
    aligned = [sum(width % lanes == 0 for width in shape.widths) / len(shape.widths) for lanes in (4, 8)]
    logs = (
        *(shape.widths[place] for place in positions),
        *(sizes[place] for place in positions),
        shape.widths[-1],
        shape.macs,
        *_amounts(shape),
    )
    return [*map(math.log2, logs), *aligned, float(is_integer(spec))]
