"""Quantization-aware training: the network with simulated int8 rounding, by tensorflow-model-optimization."""

from typing import Any

from compress.tensorflow_setup import keras
from compress.training.fast_layers import STATISTICS_MOMENTUM


def quantization_aware(network: Any) -> Any:
    """A copy of `network` that rounds weights and activations to 8 bit in the forward pass, with its weights.

    Its BatchNorm statistics are kept as in a `training_twin`, in whose stead it is trained. Jacob et al. 2018,
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference".
    """
    import tensorflow_model_optimization as tfmot  # seconds to import, needed for qat_int8 alone

    aware = tfmot.quantization.keras.quantize_model(network)
    for wrapper in aware.layers:
        layer = getattr(wrapper, "layer", None)
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = STATISTICS_MOMENTUM
    return aware
