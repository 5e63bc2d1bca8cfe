"""Tensors of a `.keras` or `.h5` file, read as the HDF5 that it is.

Neither Keras loads what the other wrote, and a foreign file's layers may hold code.
"""

import io
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]

from compress.errors import UsageError
from compress.importing.layer_settings import check_layer_settings
from compress.importing.tensors import ATTRIBUTES, Tensors, wanted_tensors, weighted_layers

WEIGHTS_FILE = "model.weights.h5"


def read_keras_archive(path: Path) -> Tensors:
    """Return the tensors of a `.keras` file. Raises UsageError where its layers compute something else."""
    with zipfile.ZipFile(path) as archive:
        if WEIGHTS_FILE not in archive.namelist():
            raise UsageError(
                f"{path} is an archive without Keras' {WEIGHTS_FILE}",
                remedy="give a checkpoint of TensorFlow 2, a .keras or an .h5 file (an .npz of thrones needs "
                "no import: give it to --base)",
            )
        check_layer_settings(str(path), archive.read("config.json"))
        return _read_hdf5(io.BytesIO(archive.read(WEIGHTS_FILE)), str(path))


def read_hdf5_file(path: Path) -> Tensors:
    """Return the tensors of an `.h5` file. Raises UsageError where its layers compute something else."""
    return _read_hdf5(path, str(path))


def _read_hdf5(source: Any, what: str) -> Tensors:
    with h5py.File(source, "r") as file:
        if "model_config" in file.attrs:
            check_layer_settings(what, file.attrs["model_config"])
        top = file.get("model_weights", file)
        if "layer_names" in top.attrs:
            return _tensors_by_layer(top)
        return _tensors_by_kind(file)


def _tensors_by_layer(top: Any) -> Tensors:
    """Read the format that names layers and weights in order: `model.save("x.h5")`, `save_weights("x.h5")`."""
    wanted = wanted_tensors()
    tensors = {}
    layers = [top[_text(name)] for name in top.attrs["layer_names"]]
    weighted = [layer for layer in layers if len(layer.attrs["weight_names"])]
    for number, layer in enumerate(weighted):
        for name in map(_text, layer.attrs["weight_names"]):
            attribute = name.split("/")[-1].removesuffix(":0")
            key = f"layer_with_weights-{number}/{attribute}"
            depthwise = f"layer_with_weights-{number}/depthwise_{attribute}"  # Keras 3 calls it a kernel, too
            if depthwise in wanted:
                key = depthwise
            tensors[key] = layer[name][()]
    return tensors


def _tensors_by_kind(file: Any) -> Tensors:
    """Read the format that counts the layers of each kind: `.keras`, and `save_weights("x.weights.h5")`."""
    names = {}
    seen: Counter[str] = Counter()
    for number, layer in enumerate(weighted_layers()):
        keras_name = layer.kind
        if seen[layer.kind]:
            keras_name = f"{layer.kind}_{seen[layer.kind]}"
        seen[layer.kind] += 1
        for index, attribute in enumerate(ATTRIBUTES[layer.kind]):
            names[f"{keras_name}/vars/{index}"] = f"layer_with_weights-{number}/{attribute}"
    tensors = {}

    def take(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not path.startswith("optimizer/"):
            place = "/".join(path.split("/")[-3:])
            tensors[names.get(place, path)] = item[()]

    file.visititems(take)
    return tensors


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
