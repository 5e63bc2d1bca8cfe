"""The specification of a candidate: everything that, with base, data and seed, decides a compressed model."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from operator import index
from typing import Any, TypeVar

from compress.architecture import BASE, Architecture, Block
from compress.errors import UsageError
from compress.quantization import IO_DTYPES, Quantization

Number = TypeVar("Number", int, float)
PRUNED_LAYERS = 1 + len(BASE.blocks)
"""The stem and each block's pointwise convolution; a depthwise convolution follows its input."""


@dataclass(frozen=True)
class CompressionSpec:
    """One candidate; checked once, here.

    fractions: the share of output channels removed, 0 <= fraction < 1, for the stem and the 13 pointwise
    layers. round_to: channels left are rounded up to a multiple of this. dropped_blocks: blocks 0..12 that
    are left out; their strides move on to the next block that stays. ends: dtype of input and output of an
    integer model. distill_weight: share of the loss that follows the base. threads: those of the interpreter.
    parent: the candidate whose trained weights, in float, this one begins with, as many blocks as its own; None: the
    base. qat_int8 with a parent is quantization-aware in all its epochs, otherwise in the last of them.

    Raises UsageError with value, limit and remedy.
    """

    fractions: tuple[float, ...] = (0.0,) * PRUNED_LAYERS
    round_to: int = 1
    dropped_blocks: tuple[int, ...] = ()
    stem_stride: int = 1
    epochs: int = 0
    learning_rate: float = 0.05
    augment: bool = True
    distill_weight: float = 0.0
    quantization: Quantization = Quantization.FLOAT32
    ends: str = "float32"
    threads: int = 1
    parent: "CompressionSpec | None" = None

    def __post_init__(self) -> None:
        self._normalise()
        if len(self.fractions) != PRUNED_LAYERS:
            raise UsageError(
                f"fractions must be {PRUNED_LAYERS} numbers (stem and 13 blocks), got {len(self.fractions)}"
            )
        for fraction in self.fractions:
            check_fraction(fraction)
        choices: tuple[tuple[str, object, tuple[object, ...]], ...] = (
            ("ends", self.ends, IO_DTYPES),
            ("stem_stride", self.stem_stride, (1, 2, 4)),
            ("augment", self.augment, (True, False)),
        )
        for name, value, allowed in choices:
            if value not in allowed:
                raise UsageError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value}")
        if self.ends not in self.quantization.io_dtypes:
            raise UsageError(f"ends {self.ends} needs quantization int8 or qat_int8, got {self.quantization}")
        for name, number, low in (
            ("round_to", self.round_to, 1),
            ("epochs", self.epochs, 0),
            ("threads", self.threads, 1),
        ):
            if number < low:
                raise UsageError(f"{name} must be >= {low}, got {number}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UsageError(f"learning_rate must be > 0, got {self.learning_rate}")
        if not 0 <= self.distill_weight <= 1:
            raise UsageError(f"distill_weight must be within 0..1, got {self.distill_weight}")
        blocks = range(len(BASE.blocks))
        if tuple(sorted(set(self.dropped_blocks) & set(blocks))) != self.dropped_blocks:
            raise UsageError(
                f"dropped_blocks must be rising numbers within 0..12, got {list(self.dropped_blocks)}"
            )
        if len(self.dropped_blocks) == len(BASE.blocks):
            raise UsageError("all 13 blocks are dropped; at least one must stay")
        if self.parent is not None and len(self.parent.kept_blocks) != len(self.kept_blocks):
            raise UsageError(
                f"a parent must have as many blocks: {len(self.kept_blocks)}, got {len(self.parent.kept_blocks)}"
            )
        if self.parent is not None and self.parent.quantization.needs_aware_training:
            raise UsageError("a parent must be trained in float, got qat_int8")

    def _normalise(self) -> None:
        object.__setattr__(self, "quantization", Quantization(self.quantization))
        # Equal specs have one JSON text and so one key: 0, 0.0, -0.0 and numpy's zeros are one fraction.
        for name in ("round_to", "stem_stride", "epochs", "threads"):
            object.__setattr__(self, name, _number(name, getattr(self, name), index))
        for name in ("learning_rate", "distill_weight"):
            object.__setattr__(self, name, _number(name, getattr(self, name), float) + 0.0)
        if self.augment in (True, False):
            object.__setattr__(self, "augment", bool(self.augment))
        fractions = tuple(_number("fractions", fraction, float) + 0.0 for fraction in self.fractions)
        object.__setattr__(self, "fractions", fractions)
        dropped = tuple(_number("dropped_blocks", block, index) for block in self.dropped_blocks)
        object.__setattr__(self, "dropped_blocks", dropped)

    def key(self) -> str:
        """A hash that is the same wherever and whenever it is computed."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` gives the same spec back."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # tuples become lists

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "CompressionSpec":
        """The inverse of `to_dict`. Raises UsageError for an unknown name or a bad value."""
        known = [field.name for field in fields(CompressionSpec)]
        if not isinstance(values, dict):
            raise UsageError(f"a spec must be an object, got {type(values).__name__}")
        for name in values:
            if name not in known:
                raise UsageError(f"unknown name {name!r} in a spec; a spec has {', '.join(known)}")
        if values.get("parent") is not None:
            values = {**values, "parent": CompressionSpec.from_dict(values["parent"])}
        try:
            return CompressionSpec(**values)
        except TypeError as error:  # null where a list is wanted
            raise UsageError(f"no spec: {error}") from error

    @property
    def all_epochs(self) -> int:
        """The epochs of this candidate and of those that it descends from."""
        return self.epochs + (self.parent.all_epochs if self.parent else 0)

    @property
    def kept_blocks(self) -> tuple[int, ...]:
        """The blocks of the base that stay."""
        return tuple(block for block in range(len(BASE.blocks)) if block not in self.dropped_blocks)

    def architecture(self) -> Architecture:
        """The network that pruning and dropping lead to.

        A dropped block's stride moves on to the next block that stays, up to a stride of 4; what is left over
        at the end is dropped with the blocks.
        """
        blocks, stride = [], 1
        for number, block in enumerate(BASE.blocks):
            stride *= block.stride
            if number in self.dropped_blocks:
                continue
            width = kept_channels(block.width, self.fractions[number + 1], self.round_to)
            blocks.append(Block(width, min(stride, 4)))
            stride = max(1, stride // 4)
        stem = kept_channels(BASE.stem_width, self.fractions[0], self.round_to)
        return Architecture(stem, self.stem_stride, tuple(blocks))


def _number(name: str, value: Any, kind: Callable[[Any], Number]) -> Number:
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        return kind(value)
    except (TypeError, ValueError) as error:
        wanted = "a number" if kind is float else "a whole number"
        raise UsageError(f"{name} must be {wanted}, got {value!r}") from error


def check_fraction(fraction: float) -> None:
    """Raise UsageError unless 0 <= fraction < 1."""
    if not 0 <= fraction < 1:  # NaN fails this too
        raise UsageError(
            f"a pruned fraction must be >= 0 and < 1, got {fraction}; at least one channel stays"
        )


def kept_channels(channels: int, fraction: float, round_to: int = 1) -> int:
    """How many of `channels` stay when `fraction` goes: at least one, up to a multiple of `round_to`."""
    gone = int(channels * fraction + 1e-9)  # 0.29 * 100 is 28.999...: floor of what was meant
    kept = max(1, channels - gone)
    return min(channels, -(-kept // round_to) * round_to)
