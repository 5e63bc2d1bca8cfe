"""The specification of a candidate: everything that, with base, data and seed, decides a compressed model."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from operator import index
from typing import Any, TypeVar

from compress.architecture import BASE, Architecture, Block
from compress.errors import UsageError
from compress.quantization import IO_DTYPES, Quantization

Number = TypeVar("Number", int, float)
PRUNED_LAYERS = 1 + len(BASE.blocks)
"""The stem and each block's pointwise convolution; a depthwise convolution follows its input."""
STORED_NAMES = {"pruning_ratios": "fractions", "io_dtype": "ends"}
"""Fields that have another name in stored studies, winners and cache keys, which must stay readable."""


@dataclass(frozen=True)
class CompressionSpec:
    """One candidate; checked once, here.

    Args:
        pruning_ratios: share of output channels removed, each >= 0 and < 1, for the stem and the 13
            pointwise layers.
        round_to: the number of channels left is rounded up to a multiple of this.
        dropped_blocks: blocks 0..12 that are left out. Their strides move to the next block that stays.
        stem_stride: 1, 2 or 4.
        epochs: epochs of fine-tuning.
        learning_rate: the highest of the schedule.
        augment: shifted and mirrored training images. The search always sets it.
        distill_weight: share of the loss that follows the base, 0..1.
        quantization: the scheme of the `.tflite`.
        io_dtype: dtype of its input and output; only INT8 and QAT_INT8 have others than "float32".
        threads: threads of the interpreter.
        parent: the candidate whose trained float weights this one begins with. It has as many blocks.
            None: the base. QAT_INT8 with a parent is quantization-aware in all its epochs, otherwise in
            the last of them.

    Raises:
        UsageError: with value, limit and remedy.
    """

    pruning_ratios: tuple[float, ...] = (0.0,) * PRUNED_LAYERS
    round_to: int = 1
    dropped_blocks: tuple[int, ...] = ()
    stem_stride: int = 1
    epochs: int = 0
    learning_rate: float = 0.05
    augment: bool = True
    distill_weight: float = 0.0
    quantization: Quantization = Quantization.FLOAT32
    io_dtype: str = "float32"
    threads: int = 1
    parent: "CompressionSpec | None" = None

    def __post_init__(self) -> None:
        # Equal specs need one JSON text, and so one key: 0, 0.0, -0.0 and numpy's zeros become one value.
        for name, normalize in _NORMALIZERS.items():
            object.__setattr__(self, name, normalize(name, getattr(self, name)))
        for check in _CHECKS:
            check(self)

    def key(self) -> str:
        """Return a hash that is the same wherever and whenever it is computed."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values under their stored names; `from_dict` reads them."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, CompressionSpec):
                value = value.to_dict()
            elif isinstance(value, Quantization):
                value = value.value
            elif isinstance(value, tuple):
                value = list(value)
            values[STORED_NAMES.get(field.name, field.name)] = value
        return values

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "CompressionSpec":
        """Return the spec of which `to_dict` gave these values. Raises UsageError for an unknown name or a bad value.
        """
        if not isinstance(values, dict):
            raise UsageError(f"a spec must be an object, got {type(values).__name__}")
        field_names = {STORED_NAMES.get(field.name, field.name): field.name for field in fields(CompressionSpec)}
        for name in values:
            if name not in field_names:
                raise UsageError(f"unknown name {name!r} in a spec; a spec has {', '.join(field_names)}")
        arguments = {field_names[name]: value for name, value in values.items()}
        if arguments.get("parent") is not None:
            arguments["parent"] = CompressionSpec.from_dict(arguments["parent"])
        try:
            return CompressionSpec(**arguments)
        except TypeError as error:  # null where a list is wanted
            raise UsageError(f"no spec: {error}") from error

    @property
    def all_epochs(self) -> int:
        """The epochs of this candidate and of its chain of parents."""
        inherited = self.parent.all_epochs if self.parent else 0
        return self.epochs + inherited

    @property
    def kept_blocks(self) -> tuple[int, ...]:
        """The blocks of the base that stay."""
        return tuple(block for block in range(len(BASE.blocks)) if block not in self.dropped_blocks)

    def architecture(self) -> Architecture:
        """Return the network that pruning and dropping lead to.

        A dropped block's stride moves to the next block that stays, up to a stride of 4. What is left over at
        the end is dropped with the blocks.
        """
        return self._architecture

    @cached_property
    def _architecture(self) -> Architecture:
        blocks = []
        stride = 1
        for number, block in enumerate(BASE.blocks):
            stride *= block.stride
            if number in self.dropped_blocks:
                continue
            width = kept_channels(block.width, self.pruning_ratios[number + 1], self.round_to)
            blocks.append(Block(width, min(stride, 4)))
            stride = max(1, stride // 4)
        stem = kept_channels(BASE.stem_width, self.pruning_ratios[0], self.round_to)
        return Architecture(stem, self.stem_stride, tuple(blocks))


def check_pruning_ratio(ratio: float) -> None:
    """Raise UsageError unless 0 <= ratio < 1."""
    if not 0 <= ratio < 1:  # NaN fails this too
        raise UsageError(f"a pruning ratio must be >= 0 and < 1, got {ratio}; at least one channel stays")


def kept_channels(channels: int, pruning_ratio: float, round_to: int = 1) -> int:
    """Return how many of `channels` stay: at least one, rounded up to a multiple of `round_to`."""
    gone = int(channels * pruning_ratio + 1e-9)  # 0.29 * 100 is 28.999...: floor of what was meant
    kept = max(1, channels - gone)
    rounded = math.ceil(kept / round_to) * round_to
    return min(channels, rounded)


def _number(name: str, value: Any, kind: Callable[[Any], Number], wanted: str) -> Number:
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        return kind(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} must be {wanted}, got {value!r}") from error


def _integer(name: str, value: Any) -> int:
    return _number(name, value, index, "a whole number")


def _real(name: str, value: Any) -> float:
    return _number(name, value, float, "a number") + 0.0  # -0.0 becomes 0.0


def _integers(name: str, values: Iterable[Any]) -> tuple[int, ...]:
    return tuple(_integer(name, value) for value in values)


def _reals(name: str, values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(_real(name, value) for value in values)


def _boolean(name: str, value: Any) -> bool:
    if value not in (True, False):
        raise UsageError(f"{name} must be one of True, False, got {value}")
    return bool(value)


def _scheme(name: str, value: Any) -> Quantization:
    return Quantization(value)


_NORMALIZERS: dict[str, Callable[[str, Any], object]] = {
    "pruning_ratios": _reals,
    "round_to": _integer,
    "dropped_blocks": _integers,
    "stem_stride": _integer,
    "epochs": _integer,
    "learning_rate": _real,
    "augment": _boolean,
    "distill_weight": _real,
    "quantization": _scheme,
    "threads": _integer,
}


def _check_pruning_ratios(spec: CompressionSpec) -> None:
    count = len(spec.pruning_ratios)
    if count != PRUNED_LAYERS:
        raise UsageError(f"pruning_ratios must be {PRUNED_LAYERS} numbers (stem and 13 blocks), got {count}")
    for ratio in spec.pruning_ratios:
        check_pruning_ratio(ratio)


def _check_choices(spec: CompressionSpec) -> None:
    choices: dict[str, tuple[object, ...]] = {"io_dtype": IO_DTYPES, "stem_stride": (1, 2, 4)}
    for name, allowed in choices.items():
        value = getattr(spec, name)
        if value not in allowed:
            raise UsageError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value}")
    if spec.io_dtype not in spec.quantization.io_dtypes:
        raise UsageError(
            f"io_dtype {spec.io_dtype} needs quantization int8 or qat_int8, got {spec.quantization}"
        )


def _check_ranges(spec: CompressionSpec) -> None:
    for name, minimum in (("round_to", 1), ("epochs", 0), ("threads", 1)):
        value = getattr(spec, name)
        if value < minimum:
            raise UsageError(f"{name} must be >= {minimum}, got {value}")
    if not (math.isfinite(spec.learning_rate) and spec.learning_rate > 0):
        raise UsageError(f"learning_rate must be > 0, got {spec.learning_rate}")
    if not 0 <= spec.distill_weight <= 1:
        raise UsageError(f"distill_weight must be within 0..1, got {spec.distill_weight}")


def _check_blocks(spec: CompressionSpec) -> None:
    blocks = range(len(BASE.blocks))
    if tuple(sorted(set(spec.dropped_blocks) & set(blocks))) != spec.dropped_blocks:
        raise UsageError(
            f"dropped_blocks must be rising numbers within 0..12, got {list(spec.dropped_blocks)}"
        )
    if len(spec.dropped_blocks) == len(blocks):
        raise UsageError("all 13 blocks are dropped; at least one must stay")


def _check_parent(spec: CompressionSpec) -> None:
    if spec.parent is None:
        return
    wanted = len(spec.kept_blocks)
    found = len(spec.parent.kept_blocks)
    if found != wanted:
        raise UsageError(f"a parent must have as many blocks: {wanted}, got {found}")
    if spec.parent.quantization.needs_aware_training:
        raise UsageError(f"a parent must be trained in float, got {spec.parent.quantization}")


_CHECKS: tuple[Callable[[CompressionSpec], None], ...] = (
    _check_pruning_ratios,
    _check_choices,
    _check_ranges,
    _check_blocks,
    _check_parent,
)
