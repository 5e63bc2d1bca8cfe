"""The course's network as a team brings it: a TensorFlow 2 checkpoint, or a file of Keras 2 or 3.

Every format becomes one dictionary of tensors, named as in the course's checkpoint. Keras' files are read as the HDF5
that they are: neither Keras loads what the other wrote, and a foreign file's layers may hold code.
"""

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from compress.architecture import BASE, CLASSES
from compress.errors import UsageError, one_line
from compress.network import Weights, build
from compress.tensorflow_setup import tf

Tensors = Mapping[str, NDArray[Any]]
Shape = tuple[int, ...]

_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "conv2d": ("kernel",),
    "depthwise_conv2d": ("depthwise_kernel",),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "dense": ("kernel", "bias"),
}
"""The tensors of a layer in Keras' order, by the name that Keras gives its first layer of a kind."""

_TENSOR = re.compile(r"(?:^|/)(layer_with_weights-\d+/\w+)/\.ATTRIBUTES/VARIABLE_VALUE$")
# What training leaves in a checkpoint beside the network.
_NOT_THE_NETWORKS = re.compile(
    r"(^|/)(_CHECKPOINTABLE_OBJECT_GRAPH|save_counter|optimizer|keras_api|\.OPTIMIZER_SLOT)(/|$)"
)
_PARTS = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")
_SETTINGS = {
    "Conv2D": ("strides", "padding", "activation"),
    "DepthwiseConv2D": ("strides", "padding", "activation"),
    "BatchNormalization": ("epsilon",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
}
_SHOWN = 6


@dataclass(frozen=True)
class Checkpoint:
    """A network as it was brought: its name without endings, its files, its weights in the order of `build(BASE)`."""

    name: str
    files: tuple[Path, ...]
    weights: Weights


def read_checkpoint(path: Path) -> Checkpoint:
    """The network at `path`: a checkpoint's prefix, one of its files or its folder; a `.keras` or an `.h5`.

    Raises UsageError when it is missing or damaged, or is not the course's network, tensor by tensor.
    """
    if not path.is_file() or _PARTS.search(path.name) or path.name == "checkpoint":
        return _read_tensorflow(path)
    try:
        path.open("rb").close()  # what follows takes a file that cannot be read for one of another kind
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if zipfile.is_zipfile(path):
        return _read_file(path, _keras_tensors)
    if h5py.is_hdf5(path):
        return _read_file(path, lambda file: _hdf5_tensors(file, str(path)))
    raise UsageError(
        f"{path} is damaged, or neither a checkpoint of TensorFlow 2 nor a .keras nor an .h5 file; copy it again, or "
        'write it with model.save_weights("mbnv1_tf.ckpt") of Keras 2'
    )


def wanted_tensors() -> dict[str, Shape]:
    """Name and shape of the network's 137 tensors, all float32, in Keras' order."""
    return {
        f"layer_with_weights-{number}/{attribute}": shape
        for number, (kind, shapes) in enumerate(_layers())
        for attribute, shape in zip(_ATTRIBUTES[kind], shapes, strict=True)
    }


def check_tensors(what: str, tensors: Tensors) -> Weights:
    """The tensors in the order of `build(BASE)`, float32.

    Raises UsageError, naming the first differences, unless they are `wanted_tensors`, each finite.
    """
    wanted = wanted_tensors()
    wrong = [f"{name} is missing" for name in wanted if name not in tensors]
    for name, tensor in tensors.items():
        if name not in wanted:
            wrong.append(f"{name} is one too many")
        elif tensor.shape != wanted[name]:
            wrong.append(f"{name}: wanted {_show(wanted[name])}, has {_show(tensor.shape)}")
        elif tensor.dtype != np.float32:
            wrong.append(f"{name}: wanted float32, has {tensor.dtype}")
        elif not np.isfinite(tensor).all():
            wrong.append(f"{name} has values that are infinite or no number")
    _refuse(what, wrong)
    return [np.asarray(tensors[name], np.float32) for name in wanted]


def check_weights(what: str, weights: Weights) -> None:
    """Raises UsageError unless these are the weights of `build(BASE)`."""
    names = [*wanted_tensors(), *(f"array {n}" for n in range(len(wanted_tensors()), len(weights)))]
    check_tensors(what, dict(zip(names, weights, strict=False)))


def _refuse(what: str, wrong: list[str]) -> None:
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise UsageError(
            f"{what} is not the course's network of 85 layers: {'; '.join(wrong[:_SHOWN])}{more}. Give the unpruned "
            "float32 network, built as in the course: thrones prunes and quantizes it"
        )


def _show(shape: Shape) -> str:
    return f"({','.join(map(str, shape))})"


def _layers() -> list[tuple[str, list[Shape]]]:
    """Kind and shapes of the layers with weights."""

    def normalised(kind: str, kernel: Shape, channels: int) -> list[tuple[str, list[Shape]]]:
        return [(kind, [kernel]), ("batch_normalization", [(channels,)] * 4)]

    channels = BASE.stem_width
    layers = normalised("conv2d", (3, 3, 3, channels), channels)
    for block in BASE.blocks:
        layers += normalised("depthwise_conv2d", (3, 3, channels, 1), channels)
        layers += normalised("conv2d", (1, 1, channels, block.width), block.width)
        channels = block.width
    return [*layers, ("dense", [(channels, CLASSES), (CLASSES,)])]


def _read_tensorflow(path: Path) -> Checkpoint:
    prefix = _prefix(path)
    files = sorted(prefix.parent.glob(f"{_escaped(prefix.name)}.data-*-of-*"))
    index = prefix.with_name(f"{prefix.name}.index")
    if not index.is_file():
        beside = f", but {files[0].name} is; copy it there" if files else "; name a checkpoint, a .keras or an .h5 file"
        raise UsageError(f"{index} is not there{beside}")
    if not files:
        raise UsageError(f"{prefix}.data-00000-of-00001 is not there, but {index.name} is; copy it there")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = [name for name in sorted(reader.get_variable_to_shape_map()) if not _NOT_THE_NETWORKS.search(name)]
        tensors = {_own_name(name): np.asarray(reader.get_tensor(name)) for name in names}
    except Exception as error:  # damage comes as TensorFlow's errors, IndexError or ValueError
        raise UsageError(f"{prefix}: a damaged checkpoint ({one_line(error)}); copy its files again") from error
    return Checkpoint(prefix.name.removesuffix(".ckpt"), (index, *files), check_tensors(str(prefix), tensors))


def _prefix(path: Path) -> Path:
    """What a checkpoint's files have in common, given that, one of them, or their folder."""
    if path.name == "checkpoint" and path.is_file():
        path = path.parent
    if not path.is_dir():
        return path.with_name(_PARTS.sub("", path.name))
    names = sorted(index.name.removesuffix(".index") for index in path.glob("*.index"))
    if len(names) > 1 and (path / "checkpoint").is_file():
        # Its paths are those of the machine that wrote it.
        text = (path / "checkpoint").read_text(encoding="utf-8", errors="replace")
        latest = re.search(r'^model_checkpoint_path: "(?:.*/)?([^/"]+)"', text, re.MULTILINE)
        names = [name for name in names if latest and name == latest[1]] or names
    if len(names) != 1:
        found = f"the checkpoints {', '.join(names)}; name one of them" if names else "no checkpoint; name its .index"
        raise UsageError(f"{path} has {found}")
    return path / names[0]


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _own_name(name: str) -> str:
    """Without the names of what the network was part of, as in `tf.train.Checkpoint(model=network)`."""
    match = _TENSOR.search(name)
    return match[1] if match else name


def _read_file(path: Path, read: Callable[[Path], Tensors]) -> Checkpoint:
    try:
        tensors = read(path)
    except UsageError:
        raise
    except Exception as error:  # damage comes as zipfile's, zlib's, h5py's, json's or the system's errors
        raise UsageError(f"{path} is damaged ({one_line(error)}); copy or save it again") from error
    return Checkpoint(path.stem.removesuffix(".weights"), (path,), check_tensors(str(path), tensors))


def _keras_tensors(path: Path) -> Tensors:
    with zipfile.ZipFile(path) as archive:
        if "model.weights.h5" not in archive.namelist():
            raise UsageError(
                f"{path} is an archive without Keras' model.weights.h5; give a checkpoint of TensorFlow 2, a .keras or "
                "an .h5 file (an .npz of thrones needs no import: give it to --base)"
            )
        _check_settings(str(path), archive.read("config.json"))
        return _hdf5_tensors(io.BytesIO(archive.read("model.weights.h5")), str(path))


def _hdf5_tensors(source: Any, what: str) -> Tensors:
    with h5py.File(source, "r") as file:
        if "model_config" in file.attrs:
            _check_settings(what, file.attrs["model_config"])
        top = file.get("model_weights", file)
        return _tensors_by_layer(top) if "layer_names" in top.attrs else _tensors_by_kind(file)


def _tensors_by_layer(top: Any) -> Tensors:
    """Of the format that names layers and weights in their order: `model.save("x.h5")`, `save_weights("x.h5")`."""
    wanted, tensors = wanted_tensors(), {}
    layers = [top[_text(name)] for name in top.attrs["layer_names"]]
    for number, layer in enumerate(layer for layer in layers if len(layer.attrs["weight_names"])):
        for name in map(_text, layer.attrs["weight_names"]):
            attribute = name.split("/")[-1].removesuffix(":0")
            own = f"layer_with_weights-{number}/{attribute}"
            depthwise = f"layer_with_weights-{number}/depthwise_{attribute}"  # which Keras 3 calls a kernel, too
            tensors[depthwise if depthwise in wanted else own] = layer[name][()]
    return tensors


def _tensors_by_kind(file: Any) -> Tensors:
    """Of the format that counts the layers of each kind: `.keras`, and `save_weights("x.weights.h5")`."""
    names, seen = {}, Counter[str]()
    for number, (kind, _) in enumerate(_layers()):
        layer = f"{kind}_{seen[kind]}" if seen[kind] else kind
        seen[kind] += 1
        for at, attribute in enumerate(_ATTRIBUTES[kind]):
            names[f"{layer}/vars/{at}"] = f"layer_with_weights-{number}/{attribute}"
    tensors = {}

    def take(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not path.startswith("optimizer/"):
            place = "/".join(path.split("/")[-3:])
            tensors[names.get(place, path)] = item[()]

    file.visititems(take)
    return tensors


def _check_settings(what: str, config: str | bytes) -> None:
    """Raises UsageError where the layers compute something else than their weights tell: another order, ReLU6, ..."""
    found = json.loads(config)["config"]
    if not isinstance(found, dict) or "layers" not in found:
        raise UsageError(f"{what} is no Sequential and lists no layers; build the network as the course does")
    ours, theirs = _computing(_reference_layers()), _computing(found["layers"])
    for number, (our, their) in enumerate(zip_longest(ours, theirs)):
        if our is None or their is None or our[0] != their[0]:
            wanted, has = (f"{each[0]} {each[1]['name']}" if each else "no layer" for each in (our, their))
            _refuse(what, [f"layer {number}: wanted {wanted}, has {has}"])
    wrong: Counter[str] = Counter()
    for (kind, our), (_, their) in zip(ours, theirs, strict=True):
        for key in _SETTINGS.get(kind, ()):
            if key in our and key in their and their[key] != our[key]:
                wrong[f"{kind}: wanted {key} {our[key]}, has {their[key]}"] += 1
    _refuse(what, [f"{number} x {line}" if number > 1 else line for line, number in wrong.items()])


def _computing(layers: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Kind and settings of the layers that compute, in their order, up to the last one with weights.

    A rescaling before the first convolution is passed over: which pixels the network behind it takes is found by trial.
    """
    kinds = [(_kind(layer), layer["config"]) for layer in layers]
    kinds = [(kind, config) for kind, config in kinds if kind and not kind.startswith("Random")]
    first = next((n for n, (kind, _) in enumerate(kinds) if kind == "Conv2D"), 0)
    last = max((n for n, (kind, _) in enumerate(kinds) if kind == "Dense"), default=len(kinds))
    before = [each for each in kinds[:first] if each[0] != "Rescaling"]
    return [*before, *kinds[first : last + 1]]


def _kind(layer: dict[str, Any]) -> str:
    """The name of its class; empty for one that computes nothing where nothing is trained."""
    name = str(layer["class_name"])
    if name == "Activation" and layer["config"].get("activation") == "relu":
        return "ReLU"
    return "" if name in ("InputLayer", "Dropout", "GaussianNoise") else name


@cache
def _reference_layers() -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = json.loads(json.dumps(build(BASE).get_config()))["layers"]
    return layers


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
