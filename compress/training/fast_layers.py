"""Layers that compute what Keras' do, but train faster on a CPU, and the network that is built from them."""

from typing import Any

from compress.network import STATISTICS_MOMENTUM
from compress.tensorflow_setup import keras, tf

SIMD_LANES = 8
"""oneDNN normalises this many channels at once; with another number of them it is several times slower."""


class FastPointwise(keras.layers.Conv2D):  # type: ignore[misc]  # Keras is untyped
    """A 1x1 convolution as a plain matrix product, whose gradients are plain matrix products as well.

    TensorFlow's own gradient for the input of a 4x4x512 map took ten times as long as the product on the CPUs
    tried (`make bench` shows the ratio): the whole base trains three times faster with this.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Return the same value as Conv2D's; see the class."""
        channels_in, channels_out = kernel.shape[2:]
        rows = tf.reshape(inputs, (-1, channels_in))
        product = tf.matmul(rows, tf.reshape(kernel, (channels_in, channels_out)))
        # Of no fixed size: the first epochs of a training may see smaller crops than the last ones.
        outputs = tf.reshape(product, tf.concat([tf.shape(inputs)[:3], [channels_out]], axis=0))
        return tf.ensure_shape(outputs, (*inputs.shape[:3], channels_out))


class FastNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]  # Keras is untyped
    """A BatchNormalization that trains with matrix products and plain arithmetic over whole rows.

    Pruned networks have any number of channels. With 14 of them TensorFlow's own took three times as long here;
    with a multiple of `SIMD_LANES` it is the faster one.
    """

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Return the same value as BatchNormalization's, with the same moving statistics; see the class."""
        if not training:
            return super().call(inputs, training=False, mask=mask)
        outputs, mean, variance = _normalise(inputs, self.gamma, self.beta, tf.constant(self.epsilon))
        outputs = tf.ensure_shape(outputs, inputs.shape)
        count = tf.cast(tf.size(inputs) / inputs.shape[-1], tf.float32)
        unbiased = variance * count / tf.maximum(count - 1, 1)  # as Keras' fused operator has it
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, unbiased)):
            moving.assign_sub((moving - batch) * (1 - self.momentum))
        return outputs


_ANY_VECTOR = tf.TensorSpec((None,), tf.float32)
_ANY_MAP = tf.TensorSpec((None, None, None, None), tf.float32)


# A graph of its own, traced once for all shapes: TensorFlow keeps each use of a custom gradient for as long as
# the process lives, and with it the graph around it.
@tf.function(  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    input_signature=[_ANY_MAP, _ANY_VECTOR, _ANY_VECTOR, tf.TensorSpec((), tf.float32)]
)
@tf.custom_gradient  # type: ignore[untyped-decorator]
def _normalise(inputs: Any, gamma: Any, beta: Any, epsilon: Any) -> Any:
    """Return outputs, mean and variance of the batch.

    An image is one row: additions along it need no short inner loops.
    """
    batch, height, width, channels = tf.unstack(tf.shape(inputs))
    pixels = batch * height * width
    count = tf.cast(pixels, tf.float32)

    def along_row(vector: Any) -> Any:
        return tf.tile(vector, [height * width])

    def total(rows: Any) -> Any:
        ones = tf.ones((1, pixels))
        return tf.reshape(tf.matmul(ones, tf.reshape(rows, (-1, channels))), (channels,))

    rows = tf.reshape(inputs, (-1, height * width * channels))
    mean = total(rows) / count
    centred = rows - along_row(mean)
    variance = total(centred * centred) / count
    per_deviation = tf.math.rsqrt(variance + epsilon)
    scale = along_row(gamma * per_deviation)

    def gradient(upstream: Any, _mean: Any, _variance: Any) -> tuple[Any, Any, Any, None]:
        flat = tf.reshape(upstream, tf.shape(rows))
        to_beta = total(flat)
        correlation = total(flat * centred)
        follow = centred * along_row(correlation * per_deviation**2 / count)
        to_rows = (flat - along_row(to_beta / count) - follow) * scale
        return tf.reshape(to_rows, tf.shape(inputs)), correlation * per_deviation, to_beta, None

    outputs = tf.reshape(centred * scale + along_row(beta), tf.shape(inputs))
    return (outputs, mean, variance), gradient


def fast_model(network: Any) -> Any:
    """Return the same network of fast layers, with BatchNorm statistics by `STATISTICS_MOMENTUM`."""
    fast = keras.models.clone_model(network, clone_function=_fast_layer)
    fast.set_weights(network.get_weights())
    return fast


def _fast_layer(layer: Any) -> Any:
    config = layer.get_config()
    if type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1):
        return FastPointwise.from_config(config)
    if type(layer) is keras.layers.BatchNormalization:
        config = {**config, "momentum": STATISTICS_MOMENTUM}
        if layer.gamma.shape[0] % SIMD_LANES:
            return FastNormalization.from_config(config)
        return keras.layers.BatchNormalization.from_config(config)
    return type(layer).from_config(config)
