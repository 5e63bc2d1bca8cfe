"""From a trained network to a `.tflite`: the six quantizations, in a process of its own.

The converter can end the whole process on a graph that it does not like, and it can take for ever; so it runs
in a child that is asked over a pipe, kept for the next model, and killed when it does not answer in time.
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
"""What the file says of itself: whoever wants probabilities applies a softmax."""


@dataclass(frozen=True)
class ConversionJob:
    """A network as its architecture and weights, and what to make of it.

    weights: those of `network.build(architecture)`, or of its deployed form made quantization-aware for `qat_int8`.
    calibration: uint8 (N, 32, 32, 3), training images; needed for int8 and int16x8.
    """

    architecture: Architecture
    weights: Weights
    quantization: Quantization
    io_dtype: str = "float32"
    calibration: NDArray[np.uint8] | None = None


class Converter:
    """The child process; use it in a `with`. One conversion at a time."""

    def __init__(self, time_limit_s: float = 300.0) -> None:
        self.time_limit_s = time_limit_s
        self._process: Any = None
        self._pipe: Any = None

    def __enter__(self) -> "Converter":
        self._start()  # now, so that TensorFlow loads while the base is being measured
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def convert(self, job: ConversionJob) -> bytes:
        """The flatbuffer for batches of one, uint8/int8/float32 (1, 32, 32, 3) to logits (1, 10).

        Raises CandidateError when the converter refuses, dies, or exceeds the time limit.
        """
        if self._process is None or not self._process.is_alive():  # what ended it was not this model
            self._stop()
            self._start()
        try:
            self._pipe.send(job)
            if not self._pipe.poll(self.time_limit_s):
                raise CandidateError(
                    f"the converter did not end within {self.time_limit_s:g} s; raise the limit"
                )
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:  # OSError also when it dies in the middle of its answer
            self._process.join(5)
            code = self._process.exitcode
            self._stop()
            raise CandidateError(f"the converter died on this model (exit code {code})") from error
        except BaseException:  # an answer that still comes must not be taken for the next model's
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
    """A process started in here inherits it from its first instruction: Ctrl-C is for the parent, which ends it."""
    if threading.current_thread() is not threading.main_thread():  # Python lets no other one set handlers
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(pipe: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the converter's own lines would tear the progress display
    from compress import tensorflow_setup as _  # noqa: F401  load TensorFlow before the first job arrives

    while True:
        try:
            job = pipe.recv()
        except EOFError:  # the parent is gone
            return
        try:
            pipe.send(convert(job))
        except Exception as error:  # noqa: BLE001  whatever the converter raises is about this candidate
            pipe.send(f"{type(error).__name__}: {one_line(error)}")


def convert(job: ConversionJob) -> bytes:
    """Convert in this very process; see `Converter.convert`."""
    from compress.network import build, quantization_aware
    from compress.tensorflow_setup import flatbuffer_utils, keras, tf

    # Keras numbers the layers of a process, and their names go into the file: equal jobs must give equal bytes.
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
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(converter.convert()))
    model.description = DESCRIPTION
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _representative_dataset(job: ConversionJob) -> Callable[[], Iterator[list[NDArray[np.float32]]]]:
    images = job.calibration
    if images is None or not len(images):
        raise ValueError(f"{job.quantization} needs calibration images, got none")

    def each_image() -> Iterator[list[NDArray[np.float32]]]:
        for image in images:
            yield [image[None].astype(np.float32)]

    return each_image
