"""MobileNet-v1 as a Keras Sequential: build it, make it quantization-aware, save and load its weights."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.architecture import CLASSES, IMAGE_SIZE, Architecture, Block
from compress.errors import UsageError, one_line
from compress.io import atomic_write
from compress.tensorflow_setup import keras

Weights = list[NDArray[np.float32]]

BUNDLED_BASE = Path(__file__).parent / "weights" / "mobilenet_v1_cifar10.npz"
"""The weights of the unpruned network that come with this package; the .json beside them says how it was trained."""

STATISTICS_MOMENTUM = 0.95
"""BatchNorm's momentum while a network is trained: statistics over some twenty batches.

The base's own 0.1 keeps those of the last batch alone, which are too noisy to validate with.
"""


def build(architecture: Architecture, *, for_export: bool = False) -> Any:
    """Return an untrained network: float32 (N, 32, 32, 3), raw 0..255 in, probabilities float32 (N, 10) out.

    For `BASE` these are the 85 layers of the course's network, in its order: Conv2D, BatchNormalization
    (epsilon 1e-5, momentum 0.1 in the Keras sense), ReLU; per block DepthwiseConv2D, BatchNormalization,
    ReLU, Conv2D, BatchNormalization, ReLU; AveragePooling2D, Flatten, Dense, Softmax. Convolutions are `same`
    and without bias.

    Args:
        architecture: widths and strides.
        for_export: the same network, with the same weights, as it is converted. One mean replaces pooling and
            Flatten: TensorFlow Lite's XNNPACK runs it in integers too, but has no integer AVERAGE_POOL_2D of
            4x4 maps. The outputs are those before the softmax, whose largest is the same.
    """
    layers = keras.layers

    def normalization_and_relu() -> list[Any]:
        return [layers.BatchNormalization(epsilon=1e-5, momentum=0.1), layers.ReLU()]

    stem = layers.Conv2D(architecture.stem_width, 3, architecture.stem_stride, padding="same", use_bias=False)
    stack = [stem, *normalization_and_relu()]
    for block in architecture.blocks:
        stack.append(layers.DepthwiseConv2D(3, block.stride, padding="same", use_bias=False))
        stack += normalization_and_relu()
        stack.append(layers.Conv2D(block.width, 1, padding="same", use_bias=False))
        stack += normalization_and_relu()
    if for_export:
        stack += [layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)]
    else:
        stack += [layers.AveragePooling2D(architecture.final_size, name="avg_pool"), layers.Flatten()]
        stack += [layers.Dense(CLASSES), layers.Softmax()]
    network = keras.Sequential([keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))])
    for layer in stack:
        network.add(layer)
    return network


def quantization_aware(network: Any) -> Any:
    """Return a copy of `network` that rounds weights and activations to 8 bit in the forward pass.

    It has the same weights; its BatchNorm statistics follow `STATISTICS_MOMENTUM`. Jacob et al. 2018,
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference".
    """
    import tensorflow_model_optimization as tfmot  # takes seconds, and only QAT_INT8 needs it

    aware = tfmot.quantization.keras.quantize_model(network)
    for wrapper in aware.layers:
        layer = getattr(wrapper, "layer", None)
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = STATISTICS_MOMENTUM
    return aware


_SETTINGS: dict[str, dict[str, Any]] = {
    "Conv2D": {"use_bias": False, "activation": "linear"},
    "DepthwiseConv2D": {"use_bias": False, "activation": "linear", "padding": "same", "kernel_size": (3, 3)},
    "BatchNormalization": {"epsilon": 1e-5},
    "ReLU": {"max_value": None, "negative_slope": 0.0, "threshold": 0.0},
}
"""Settings of `build` that weights do not show: a copy without them would compute something else."""

_NORMALIZATION_KINDS = ["BatchNormalization", "ReLU"]
_STEM_KINDS = ["Conv2D", *_NORMALIZATION_KINDS]
_BLOCK_KINDS = ["DepthwiseConv2D", *_NORMALIZATION_KINDS, "Conv2D", *_NORMALIZATION_KINDS]
_HEAD_KINDS = ["AveragePooling2D", "Flatten", "Dense"]  # and an activation


def architecture_of(network: Any) -> Architecture:
    """Return the architecture of a network that `build` made, or that was loaded with the same layers.

    Raises UsageError when the layers are not those of a MobileNet-v1.
    """
    layers = network.layers
    kinds = [type(layer).__name__ for layer in layers]
    layers_of_blocks = len(kinds) - len(_STEM_KINDS) - len(_HEAD_KINDS) - 1
    blocks, rest = divmod(layers_of_blocks, len(_BLOCK_KINDS))
    if rest or kinds[:-1] != [*_STEM_KINDS, *blocks * _BLOCK_KINDS, *_HEAD_KINDS]:
        raise UsageError(
            f"the network's {len(kinds)} layers are not those of a MobileNet-v1 (Conv2D, BatchNormalization, "
            "ReLU, then blocks of six)",
            remedy="only networks from compress.network.build can be pruned",
        )
    _check_settings(layers)
    shapes = []
    for block in range(blocks):
        first = len(_STEM_KINDS) + block * len(_BLOCK_KINDS)
        depthwise, pointwise = layers[first], layers[first + 3]
        shapes.append(Block(pointwise.filters, depthwise.strides[0]))
    return Architecture(layers[0].filters, layers[0].strides[0], tuple(shapes))


def _check_settings(layers: list[Any]) -> None:
    for number, layer in enumerate(layers):
        for setting, wanted in _SETTINGS.get(type(layer).__name__, {}).items():
            found = layer.get_config()[setting]
            if found != wanted:
                raise UsageError(
                    f"layer {number} ({layer.name}) has {setting} {found}, wanted {wanted} as in a network "
                    "from compress.network.build",
                    remedy="build one and train it",
                )


def save_weights(path: Path, weights: Weights) -> None:
    """Write kernels as float16; vectors (BatchNorm, bias) stay float32: variances exceed float16's range.

    The file gets this very name, and is written as a whole or not at all. Its folder is made.
    """
    arrays = [array.astype(np.float16) if array.ndim > 1 else array for array in weights]
    archive = BytesIO()
    np.savez(archive, *arrays)
    atomic_write(path, archive.getvalue())


def load_weights(path: Path) -> Weights:
    """Return the weights that `save_weights` wrote, as float32 in Keras' order.

    Raises UsageError when the file is missing or no such archive.
    """
    try:
        with np.load(path) as archive:
            return [archive[f"arr_{number}"].astype(np.float32) for number in range(len(archive.files))]
    except Exception as error:  # a damaged archive raises zipfile's, zlib's, numpy's or the system's
        raise UsageError(
            f"{path}: no network weights ({one_line(error)})", remedy="run `thrones pretrain` to make them"
        ) from error
