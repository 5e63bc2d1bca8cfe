"""Compare the layers of a network that Keras saved whole with those of the course's network."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import Any

from compress.architecture import BASE
from compress.errors import UsageError
from compress.importing.tensors import refuse_differences
from compress.network import build

COMPARED_SETTINGS = {
    "Conv2D": ("strides", "padding", "activation"),
    "DepthwiseConv2D": ("strides", "padding", "activation"),
    "BatchNormalization": ("epsilon",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
}
TRAINING_ONLY = ("InputLayer", "Dropout", "GaussianNoise")
"""Layers that compute nothing where nothing is trained."""


@dataclass(frozen=True)
class _Layer:
    kind: str
    settings: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.kind} {self.settings['name']}"


def check_layer_settings(what: str, config: str | bytes) -> None:
    """Raise UsageError where the layers compute something that their weights do not show: another order, ReLU6, ...

    config: Keras' JSON of the model.
    """
    model = json.loads(config)["config"]
    if not isinstance(model, dict) or "layers" not in model:
        raise UsageError(
            f"{what} is no Sequential and lists no layers", remedy="build the network as the course does"
        )
    wanted = _computing_layers(_reference_layers())
    found = _computing_layers(model["layers"])
    for number, (ours, theirs) in enumerate(zip_longest(wanted, found)):
        if ours is None or theirs is None or ours.kind != theirs.kind:
            difference = f"layer {number}: wanted {ours or 'no layer'}, has {theirs or 'no layer'}"
            refuse_differences(what, [difference])
    counts: Counter[str] = Counter()
    for ours, theirs in zip(wanted, found, strict=True):
        counts.update(_differing_settings(ours, theirs))
    refuse_differences(what, [f"{count} x {text}" if count > 1 else text for text, count in counts.items()])


def _differing_settings(ours: _Layer, theirs: _Layer) -> list[str]:
    differences = []
    for key in COMPARED_SETTINGS.get(ours.kind, ()):
        if key not in ours.settings or key not in theirs.settings:
            continue
        wanted, found = ours.settings[key], theirs.settings[key]
        if found != wanted:
            differences.append(f"{ours.kind}: wanted {key} {wanted}, has {found}")
    return differences


def _computing_layers(layers: list[dict[str, Any]]) -> list[_Layer]:
    """Return the layers that compute, up to the last one with weights.

    A rescaling before the first convolution is left out: which pixels the network behind it takes is tried out.
    """
    computing = []
    for layer in layers:
        kind = _kind(layer)
        if kind not in TRAINING_ONLY and not kind.startswith("Random"):
            computing.append(_Layer(kind, layer["config"]))
    kinds = [layer.kind for layer in computing]
    first = kinds.index("Conv2D") if "Conv2D" in kinds else 0
    end = len(kinds)
    if "Dense" in kinds:
        end -= kinds[::-1].index("Dense")
    before = [layer for layer in computing[:first] if layer.kind != "Rescaling"]
    return [*before, *computing[first:end]]


def _kind(layer: dict[str, Any]) -> str:
    name = str(layer["class_name"])
    if name == "Activation" and layer["config"].get("activation") == "relu":
        return "ReLU"
    return name


@cache
def _reference_layers() -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = json.loads(json.dumps(build(BASE).get_config()))["layers"]
    return layers
