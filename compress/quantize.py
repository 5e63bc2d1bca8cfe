"""Quantization-aware training: the network with simulated int8 rounding, by tensorflow-model-optimization."""

from typing import Any


def quantization_aware(network: Any) -> Any:
    """A copy of `network` that rounds weights and activations to 8 bit in the forward pass, with its weights.

    Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference".
    """
    import tensorflow_model_optimization as tfmot  # seconds to import, needed for qat_int8 alone

    return tfmot.quantization.keras.quantize_model(network)
