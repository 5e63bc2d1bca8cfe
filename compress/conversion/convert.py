"""Convert a trained network to a `.tflite`, in a process of its own.

TensorFlow's converter can end the whole process on a graph that it does not support, and it can hang. So it
runs in a child process that gets its jobs over a pipe, is kept for the next model, and is killed when it does not
answer in time.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.architecture import IMAGE_SIZE, Architecture
from compress.errors import CandidateError, one_line
from compress.network import Weights
from compress.quantization import Quantization

DESCRIPTION = "MobileNet-v1, raw RGB 0..255 in, logits of 10 classes out: no softmax, the argmax is the label"
"""The description in the file. For probabilities, apply a softmax."""


@dataclass(frozen=True)
class ConversionJob:
    """A network, and how to convert it.

    Args:
        architecture: widths and strides.
        weights: those of `network.build(architecture)`; for QAT_INT8 those of the network that was built for
            export and made quantization-aware.
        quantization: the scheme of the `.tflite`.
        io_dtype: wanted dtype of input and output; a scheme that cannot have it keeps "float32".
        calibration: training images, uint8 (N, 32, 32, 3), where the scheme needs calibration.
    """

    architecture: Architecture
    weights: Weights
    quantization: Quantization
    io_dtype: str = "float32"
    calibration: NDArray[np.uint8] | None = None


class Converter:
    """A child process that converts one model at a time; use it in a `with`."""

    def __init__(self, time_limit_s: float = 300.0) -> None:
        self.time_limit_s = time_limit_s
        self._process: Any = None
        self._pipe: Any = None

    def __enter__(self) -> "Converter":
        self._start()  # already here, so that TensorFlow loads while the base is being measured
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def convert(self, job: ConversionJob) -> bytes:
        """Return the flatbuffer for batches of one, uint8/int8/float32 (1, 32, 32, 3) to logits (1, 10).

        Raises CandidateError when the converter refuses, dies, or exceeds the time limit.
        """
        if self._process is None or not self._process.is_alive():  # it ended between two models
            self._stop()
            self._start()
        try:
            self._pipe.send(job)
            if not self._pipe.poll(self.time_limit_s):
                raise CandidateError(
                    f"the converter did not end within {self.time_limit_s:g} s", remedy="raise the limit"
                )
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:  # OSError when it dies in the middle of its answer
            self._process.join(5)
            code = self._process.exitcode
            self._stop()
            raise CandidateError(f"the converter died on this model (exit code {code})") from error
        except BaseException:  # a late answer must not be taken for that of the next model
            self._stop()
            raise
        if isinstance(answer, str):
            raise CandidateError(f"the converter refused this model: {answer}")
        return bytes(answer)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _ctrl_c_ignored():
            self._process.start()
        theirs.close()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Start processes in here that ignore Ctrl-C from their first instruction: the parent ends them."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(pipe: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the converter's own lines would break the progress display
    from compress import tensorflow_setup as _  # noqa: F401  loads TensorFlow before the first job arrives

    while True:
        try:
            job = pipe.recv()
        except EOFError:  # the parent is gone
            return
        try:
            pipe.send(convert(job))
        except Exception as error:  # noqa: BLE001  any error of the converter is about this candidate
            pipe.send(f"{type(error).__name__}: {one_line(error)}")


def convert(job: ConversionJob) -> bytes:
    """Return the flatbuffer, converted in this process; see `Converter.convert`.

    Raises ValueError where calibration images are missing, and TensorFlow's errors.
    """
    from compress.network import build, quantization_aware
    from compress.tensorflow_setup import flatbuffer_utils, keras, tf

    # Keras numbers the layers of a process, and their names go into the file. Equal jobs must give equal bytes.
    keras.backend.clear_session()
    network = build(job.architecture, for_export=True)
    if job.quantization.needs_aware_training:
        network = quantization_aware(network)
    network.set_weights(job.weights)
    signature = tf.TensorSpec((1, IMAGE_SIZE, IMAGE_SIZE, 3), tf.float32)
    function = tf.function(lambda image: network(image, training=False)).get_concrete_function(signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
    # Through a SavedModel the same bytes take ten times as long.
    converter.experimental_lower_to_saved_model = False
    _configure(converter, job)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(converter.convert()))
    model.description = DESCRIPTION
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _configure(converter: Any, job: ConversionJob) -> None:
    from compress.tensorflow_setup import tf

    if job.quantization.optimizes:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    target = converter.target_spec
    if job.quantization.supported_types:
        target.supported_types = [getattr(tf, name) for name in job.quantization.supported_types]
    if job.quantization.supported_ops:
        target.supported_ops = [getattr(tf.lite.OpsSet, name) for name in job.quantization.supported_ops]
    if job.quantization.needs_calibration:
        converter.representative_dataset = _representative_dataset(job)
    io_dtype = getattr(tf, job.quantization.io_dtype(job.io_dtype))
    converter.inference_input_type = io_dtype
    converter.inference_output_type = io_dtype


def _representative_dataset(job: ConversionJob) -> Callable[[], Iterator[list[NDArray[np.float32]]]]:
    images = job.calibration
    if images is None or not len(images):
        raise ValueError(f"{job.quantization} needs calibration images, got none")

    def each_image() -> Iterator[list[NDArray[np.float32]]]:
        for image in images:
            yield [image[None].astype(np.float32)]

    return each_image
