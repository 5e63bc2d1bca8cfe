"""TensorFlow and Keras 2, imported in one place, quietly.

TensorFlow writes lines about GPUs, oneDNN and CPU flags directly to the process's stderr, on import and when it
first searches for devices, whatever TF_CPP_MIN_LOG_LEVEL says. They would break the progress display, so stderr is
redirected for that moment. An import that fails still raises.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # the default with AVX-512 only; a quarter faster with AVX2
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # tensorflow-model-optimization supports Keras 2 only

with _quiet_stderr():
    import tensorflow as tf
    import tf_keras as keras
    from tensorflow.lite.tools import flatbuffer_utils

    tf.config.list_physical_devices()


def limit_threads(count: int) -> None:
    """Limit the threads of one operation to `count`. Has no effect once TensorFlow has run."""
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(count)


tf.get_logger().setLevel("ERROR")

__all__ = ["flatbuffer_utils", "keras", "limit_threads", "tf"]
