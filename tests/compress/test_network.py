"""The network as layers: exactly the course's, written and read back without loss."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import architecture, random_network, random_weights, weight_shapes

from compress.architecture import BASE
from compress.errors import UsageError
from compress.network import architecture_of, build, load_weights, quantization_aware, save_weights
from compress.tensorflow_setup import keras
from compress.training.fast_layers import fast_model


@pytest.fixture(scope="module")
def base() -> Any:
    return build(BASE)


def test_the_base_is_the_courses_85_layers(base: Any) -> None:
    block = ["DepthwiseConv2D", "BatchNormalization", "ReLU", "Conv2D", "BatchNormalization", "ReLU"]
    assert [type(layer).__name__ for layer in base.layers] == [
        "Conv2D", "BatchNormalization", "ReLU", *13 * block, "AveragePooling2D", "Flatten", "Dense", "Softmax",
    ]  # fmt: skip
    assert len(base.layers) == 85
    assert base.input_shape == (None, 32, 32, 3)
    assert base.output_shape == (None, 10)
    assert base.layers[0].kernel_size == (3, 3)
    assert base.layers[0].strides == (1, 1)
    assert [base.layers[3 + 6 * k].strides[0] for k in range(13)] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    assert [base.layers[6 + 6 * k].filters for k in range(13)] == [
        64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024
    ]  # fmt: skip
    assert base.layers[81].name == "avg_pool"
    assert base.layers[81].pool_size == (2, 2)
    assert base.layers[83].use_bias


def test_convolutions_and_normalisations_have_the_courses_settings(base: Any) -> None:
    for number, layer in enumerate(base.layers[:81]):
        if "Conv2D" in type(layer).__name__:
            assert (layer.use_bias, layer.padding) == (False, "same"), number
        if type(layer).__name__ == "DepthwiseConv2D":
            assert (layer.kernel_size, layer.depth_multiplier) == ((3, 3), 1), number
        if type(layer).__name__ == "Conv2D" and number:
            assert (layer.kernel_size, layer.strides) == ((1, 1), (1, 1)), number
        if type(layer).__name__ == "BatchNormalization":
            assert (layer.epsilon, layer.momentum) == (1e-5, 0.1), number
        if type(layer).__name__ == "ReLU":
            assert layer.max_value is None, number


def test_the_base_has_the_checkpoints_137_tensors(base: Any) -> None:
    shapes = [tuple(weight.shape) for weight in base.get_weights()]
    assert shapes == weight_shapes(BASE)  # the tests of `prune` rely on them
    assert len(shapes) == 137
    assert shapes[0] == (3, 3, 3, 32)
    assert shapes[5] == (3, 3, 32, 1)
    assert shapes[10] == (1, 1, 32, 64)
    assert shapes[-2:] == [(1024, 10), (10,)]
    assert sum(int(np.prod(v.shape)) for v in base.non_trainable_variables) == 21_888


@pytest.mark.parametrize(
    "shape",
    [architecture(3), architecture(3, 4), architecture(1, 1, 1, 1, stem_stride=4), architecture(5, 2, 7, 3)],
)
def test_architecture_of_is_the_inverse_of_build(shape: Any) -> None:
    network = build(shape)
    assert architecture_of(network) == shape
    assert network.output_shape == (None, 10)


def _stack(*layers: Any) -> Any:
    return keras.Sequential([keras.Input((32, 32, 3)), *layers])


def _with(kind: str, **setting: Any) -> Any:
    """A small network of the right kinds, each layer of `kind` with another setting."""

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config({**config, **setting} if type(layer).__name__ == kind else config)

    return keras.models.clone_model(build(architecture(2, 2)), clone_function=clone)


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        ("ReLU", "max_value", 6.0),
        ("BatchNormalization", "epsilon", 1e-3),
        ("Conv2D", "use_bias", True),
        ("Conv2D", "activation", "relu"),
    ],
)
def test_a_network_that_computes_something_else_is_refused(kind: str, setting: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"has {setting} {value}, wanted"):
        architecture_of(_with(kind, **{setting: value}))


def test_an_aware_network_keeps_batchnorm_statistics_as_every_training_does() -> None:
    network = build(architecture(2, 2), for_export=True)
    for trained in (quantization_aware(network), fast_model(network)):
        layers = [getattr(layer, "layer", layer) for layer in trained.layers]
        found = [layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
        assert found == [0.95] * 3
    assert network.layers[1].momentum == 0.1, "the network itself stays as it was built"


def test_other_layers_are_refused() -> None:
    layers = keras.layers
    for foreign in (
        _stack(layers.Flatten(), layers.Dense(10)),
        _stack(layers.Conv2D(4, 3), layers.ReLU(), layers.Flatten(), layers.Dense(10), layers.Softmax()),
        _stack(*build(architecture(2, 2)).layers[:-4], layers.GlobalMaxPool2D(), layers.Dense(10)),
    ):
        with pytest.raises(UsageError, match=f"{len(foreign.layers)} layers are not those of a MobileNet-v1"):
            architecture_of(foreign)


@pytest.mark.parametrize("name", ["weights.npz", "weights", "weights.v1"])
def test_weights_come_back_in_order_and_in_float16s_precision(tmp_path: Path, name: str) -> None:
    network = random_network(architecture(3, 4, 5))
    weights = network.get_weights()
    weights[4][:] = (70_000.0, 1e6, 1e-8)  # variances beyond float16's range
    save_weights(tmp_path / name, weights)
    again = load_weights(tmp_path / name)
    assert [array.dtype for array in again] == [np.float32] * len(weights)
    for was, now in zip(weights, again, strict=True):
        if was.ndim > 1:
            np.testing.assert_allclose(now, was, rtol=1e-3, atol=1e-7)
        else:
            np.testing.assert_array_equal(now, was)
    network.set_weights(again)


def test_saved_kernels_take_two_bytes_a_number(tmp_path: Path) -> None:
    kernel = random_weights([(1, 1, 100, 100), (100,), (100,), (100,), (100,), (100, 10), (10,)], 0)
    save_weights(tmp_path / "weights.npz", kernel)
    assert 20_000 < (tmp_path / "weights.npz").stat().st_size < 30_000


def test_damaged_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.npz"
    save_weights(good, [np.ones((30, 30), np.float32)])
    whole = good.read_bytes()
    damaged = {
        "cut.npz": whole[: len(whole) // 2],
        "flipped.npz": whole[:600] + bytes([whole[600] ^ 255]) + whole[601:],
        "empty.npz": b"",
        "text.npz": b"not an archive",
    }
    np.savez(tmp_path / "names.npz", kernel=np.ones(3))
    np.save(tmp_path / "array.npy", np.ones(3))
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
    for name in (*damaged, "names.npz", "array.npy", "missing.npz", "."):
        with pytest.raises(UsageError, match="no network weights") as caught:
            load_weights(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
