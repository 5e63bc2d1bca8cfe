"""The course's network in every format that a team may have it in: read tensor by tensor, anything else refused."""

import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras as keras3
import numpy as np
import pytest
from networks import random_weights, same_weights, weight_shapes

from compress.architecture import BASE
from compress.errors import UsageError
from compress.importing.checkpoint import read_checkpoint
from compress.importing.tensors import wanted_tensors
from compress.network import build, save_weights
from compress.tensorflow_setup import keras, tf

DATA = ".data-00000-of-00001"


@pytest.fixture(scope="module")
def network() -> Any:
    """The 85 layers, random."""
    network = build(BASE)
    network.set_weights(random_weights(weight_shapes(BASE), 0))
    return network


def _keras3_network() -> Any:
    """The same layers as a team builds them with Keras 3."""
    layers = keras3.layers

    def normalised(layer: Any) -> list[Any]:
        return [layer, layers.BatchNormalization(epsilon=1e-5, momentum=0.1), layers.ReLU()]

    stack = normalised(layers.Conv2D(BASE.stem_width, 3, padding="same", use_bias=False))
    for block in BASE.blocks:
        stack += normalised(layers.DepthwiseConv2D(3, block.stride, padding="same", use_bias=False))
        stack += normalised(layers.Conv2D(block.width, 1, padding="same", use_bias=False))
    stack += [layers.AveragePooling2D(2, name="avg_pool"), layers.Flatten(), layers.Dense(10), layers.Softmax()]
    return keras3.Sequential([keras3.Input((32, 32, 3)), *stack])


@pytest.mark.slow
def test_the_checkpoint_is_as_the_course_has_it(courses: Path) -> None:
    found = dict(tf.train.list_variables(str(courses)))
    found.pop("_CHECKPOINTABLE_OBJECT_GRAPH"), found.pop("save_counter", None)
    wanted = {f"{name}/.ATTRIBUTES/VARIABLE_VALUE": list(shape) for name, shape in wanted_tensors().items()}
    assert found == wanted
    assert len(wanted) == 137
    assert list(wanted_tensors().values()) == weight_shapes(BASE)
    assert {path.name for path in courses.parent.iterdir()} == {
        "checkpoint", f"{courses.name}.index", f"{courses.name}{DATA}"
    }  # fmt: skip


@pytest.mark.parametrize("ending", ["", ".index", DATA, "/..", "/../checkpoint"])
def test_a_checkpoint_is_named_by_its_prefix_a_file_or_its_folder(ending: str, courses: Path, network: Any) -> None:
    folder = courses.parent
    path = folder / ending[4:] if ending.startswith("/..") else Path(f"{courses}{ending}")
    read = read_checkpoint(path)
    same_weights(read.weights, network.get_weights())
    assert (read.name, [file.name for file in read.files]) == (
        "mbnv1_tf", [f"{courses.name}.index", f"{courses.name}{DATA}"]
    )  # fmt: skip


def test_of_several_checkpoints_in_a_folder_the_latest_is_read(copied: Path) -> None:
    for part in (".index", DATA):
        shutil.copy(f"{copied}{part}", copied.parent / f"older.ckpt{part}")
    written = 'model_checkpoint_path: "/home/them/hw3/mbnv1_tf.ckpt"\nall_model_checkpoint_paths: "older.ckpt"\n'
    (copied.parent / "checkpoint").write_text(written)
    assert read_checkpoint(copied.parent).name == "mbnv1_tf"
    (copied.parent / "checkpoint").unlink()
    with pytest.raises(UsageError, match=r"has the checkpoints mbnv1_tf.ckpt, older.ckpt; name one of them"):
        read_checkpoint(copied.parent)


def test_what_training_left_in_a_checkpoint_is_passed_over(network: Any, tmp_path: Path) -> None:
    optimizer = keras.optimizers.SGD(momentum=0.9)
    optimizer.build(network.trainable_variables)
    prefix = tf.train.Checkpoint(model=network, optimizer=optimizer).save(tmp_path / "training")
    assert len(tf.train.list_variables(prefix)) > 137 + 83
    same_weights(read_checkpoint(Path(prefix)).weights, network.get_weights())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mine.keras", "mine.h5", "only.h5", "mine.weights.h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_files_of_keras_2_are_read(name: str, network: Any, tmp_path: Path) -> None:
    whole = name in ("mine.keras", "mine.h5")
    (network.save if whole else network.save_weights)(tmp_path / name)
    read = read_checkpoint(tmp_path / name)
    same_weights(read.weights, network.get_weights())
    assert read.name == name.split(".")[0]


@pytest.fixture(scope="module")
def network3(network: Any) -> Any:
    """The network as one of Keras 3."""
    network3 = _keras3_network()
    network3.set_weights(network.get_weights())
    return network3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mine.keras", "mine.h5", "mine.weights.h5"])
def test_files_of_keras_3_are_read(name: str, network3: Any, tmp_path: Path) -> None:
    (network3.save_weights if name == "mine.weights.h5" else network3.save)(tmp_path / name)
    same_weights(read_checkpoint(tmp_path / name).weights, network3.get_weights())


def _write(prefix: Path, tensors: dict[str, np.ndarray]) -> Path:
    """A checkpoint of these tensors, by the names of `wanted_tensors` or any others."""
    root = tf.train.Checkpoint()
    for name, tensor in tensors.items():
        node = root
        *parents, leaf = name.split("/")
        for parent in parents:
            if not hasattr(node, parent):
                setattr(node, parent, tf.Module())
            node = getattr(node, parent)
        setattr(node, leaf, tf.Variable(tensor))
    root.write(str(prefix))
    return prefix


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("layer_with_weights-3/gamma"), "layer_with_weights-3/gamma is missing."),
        (lambda t: t.update(extra=np.ones(3, np.float32)), "extra/.ATTRIBUTES/VARIABLE_VALUE is one too many."),
        (
            lambda t: t.update({"layer_with_weights-0/kernel": np.ones((3, 3, 3, 16), np.float32)}),
            "layer_with_weights-0/kernel: wanted (3,3,3,32), has (3,3,3,16).",
        ),
        (
            lambda t: t.update({"layer_with_weights-54/bias": np.ones(10, np.float16)}),
            "layer_with_weights-54/bias: wanted float32, has float16.",
        ),
        (
            lambda t: t.update({"layer_with_weights-54/bias": np.full(10, np.nan, np.float32)}),
            "layer_with_weights-54/bias has values that are infinite or no number.",
        ),
        (lambda t: t.clear(), "layer_with_weights-2/depthwise_kernel is missing; and 131 more."),
    ],
    ids=["missing", "extra", "shape", "dtype", "finite", "none"],
)
def test_other_tensors_are_told_one_by_one(
    change: Callable[[dict[str, np.ndarray]], object], message: str, network: Any, tmp_path: Path
) -> None:
    tensors = dict(zip(wanted_tensors(), network.get_weights(), strict=True))
    change(tensors)
    with pytest.raises(UsageError, match="is not the course's network of 85 layers: ") as caught:
        read_checkpoint(_write(tmp_path / "other.ckpt", tensors))
    assert message in str(caught.value)
    assert str(caught.value).count(" is missing") <= 6
    assert "Give the unpruned float32 network" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["relu6", "epsilon"])
def test_a_layer_that_computes_something_else_is_refused(wrong: str, network3: Any, tmp_path: Path) -> None:
    network3.save(tmp_path / "whole.keras")
    old, new, message = {
        "relu6": ('"max_value": null', '"max_value": 6.0', "max_value None, has 6.0"),
        "epsilon": ('"epsilon": 1e-05', '"epsilon": 0.001', "epsilon 1e-05, has 0.001"),
    }[wrong]
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(tmp_path / "other.keras", "w") as other:
        for name in whole.namelist():
            content = whole.read(name)
            other.writestr(name, content.replace(old.encode(), new.encode()) if name == "config.json" else content)
    with pytest.raises(UsageError, match=rf": 27 x \w+: wanted {re.escape(message)}\."):
        read_checkpoint(tmp_path / "other.keras")


@pytest.mark.slow
def test_layers_in_another_order_are_refused_and_those_that_compute_nothing_passed_over(
    network3: Any, tmp_path: Path
) -> None:
    layers = keras3.layers
    convolution, normalisation, activation, *rest = network3.layers
    more = [layers.Rescaling(1 / 255), convolution, normalisation, layers.Activation("relu"), *rest[:-1]]
    keras3.Sequential([keras3.Input((32, 32, 3)), *more, layers.Dropout(0.1), rest[-1]]).save(tmp_path / "same.keras")
    same_weights(read_checkpoint(tmp_path / "same.keras").weights, read_checkpoint(_saved(network3, tmp_path)).weights)
    turned = [convolution, activation, normalisation, *rest]
    keras3.Sequential([keras3.Input((32, 32, 3)), *turned]).save(tmp_path / "turned.keras")
    with pytest.raises(UsageError, match="layer 1: wanted BatchNormalization .*, has ReLU"):
        read_checkpoint(tmp_path / "turned.keras")


def _saved(network3: Any, folder: Path) -> Path:
    network3.save(folder / "whole.keras")
    return folder / "whole.keras"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda index, shard: shard.write_bytes(shard.read_bytes()[:5_000_000]), "a damaged checkpoint"),
        (lambda index, shard: shard.write_bytes(b""), "a damaged checkpoint"),
        (lambda index, shard: index.write_bytes(index.read_bytes()[:500]), "a damaged checkpoint"),
        (lambda index, shard: index.write_bytes(b""), "a damaged checkpoint"),
        (lambda index, shard: index.write_text("dear diary\n" * 99), "a damaged checkpoint"),
        (lambda index, shard: shard.unlink(), f"mbnv1_tf.ckpt{DATA} is not there, but mbnv1_tf.ckpt.index is"),
        (lambda index, shard: index.unlink(), f"mbnv1_tf.ckpt.index is not there, but mbnv1_tf.ckpt{DATA} is"),
        (lambda index, shard: (index.unlink(), shard.unlink()), "is not there; name a checkpoint, a .keras or an .h5"),
    ],
    ids=["cut", "empty", "index cut", "index empty", "index text", "no shard", "no index", "nothing"],
)
def test_a_damaged_checkpoint_is_refused(damage: Callable[[Path, Path], object], message: str, copied: Path) -> None:
    damage(Path(f"{copied}.index"), Path(f"{copied}{DATA}"))
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        read_checkpoint(copied)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_damaged_and_foreign_files_are_refused(network3: Any, tmp_path: Path) -> None:
    network3.save(tmp_path / "whole.keras")
    network3.save_weights(tmp_path / "whole.weights.h5")
    for name in ("whole.keras", "whole.weights.h5"):
        content = (tmp_path / name).read_bytes()
        half = len(content) // 2
        (tmp_path / f"cut.{name}").write_bytes(content[:half])
        (tmp_path / f"flipped.{name}").write_bytes(content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :])
    (tmp_path / "empty.h5").write_bytes(b"")
    (tmp_path / "text.ckpt").write_text("epoch 1: 79.16 %\n")
    save_weights(tmp_path / "ours.npz", [np.ones(3, np.float32)])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["matrix"] = np.ones((3, 3))
    for name, message in {
        "cut.whole.keras": "is damaged, or neither",
        "cut.whole.weights.h5": "is damaged",
        "flipped.whole.keras": "is damaged",
        "empty.h5": "is damaged, or neither",
        "text.ckpt": "is damaged, or neither",
        "ours.npz": "an .npz of thrones needs no import",
        "other.h5": "layer_with_weights-0/kernel is missing",
    }.items():
        with pytest.raises(UsageError, match=message) as caught:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(caught.value), name
    with pytest.raises(UsageError, match="no checkpoint; name its .index"):
        read_checkpoint(tmp_path)
