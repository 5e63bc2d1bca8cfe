"""The quantization schemes: what each needs, how it converts, and which dtypes its model takes and gives."""

from dataclasses import dataclass
from enum import Enum

from compress.errors import UsageError

IO_DTYPES = ("float32", "int8", "uint8")
"""The dtypes that input and output of a model can have."""


class Quantization(str, Enum):
    """How a `.tflite` stores its weights and computes.

    The values are the names in study files, stored studies and cache keys: they never change.

    Raises UsageError for any other name.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC = "dynamic"
    INT8 = "int8"
    INT16X8 = "int16x8"
    QAT_INT8 = "qat_int8"

    __str__ = str.__str__

    @classmethod
    def _missing_(cls, value: object) -> "Quantization":
        raise UsageError(f"quantization must be one of {', '.join(cls)}, got {value}")

    @property
    def needs_calibration(self) -> bool:
        """Return True where calibration images determine the ranges; QAT_INT8 has learnt its own."""
        return _SCHEMES[self].needs_calibration

    @property
    def needs_aware_training(self) -> bool:
        """Return True where the network is trained with simulated rounding before it is converted."""
        return self is Quantization.QAT_INT8

    @property
    def is_full_integer(self) -> bool:
        """Return True where every operator computes in integers."""
        return _SCHEMES[self].is_full_integer

    @property
    def optimizes(self) -> bool:
        """Return True where the converter's default optimization is on: everywhere but in FLOAT32."""
        return self is not Quantization.FLOAT32

    @property
    def supported_types(self) -> tuple[str, ...]:
        """Return the names in `tf` of the converter's `target_spec.supported_types`; empty: its default."""
        return _SCHEMES[self].supported_types

    @property
    def supported_ops(self) -> tuple[str, ...]:
        """Return the names in `tf.lite.OpsSet` of `target_spec.supported_ops`; empty: its default."""
        return _SCHEMES[self].supported_ops

    @property
    def io_dtypes(self) -> tuple[str, ...]:
        """Return the dtypes that input and output of the model can have."""
        return _SCHEMES[self].io_dtypes

    def io_dtype(self, wanted: str) -> str:
        """Return `wanted` where the model can have it as input and output dtype, else "float32"."""
        return wanted if wanted in self.io_dtypes else "float32"

    @property
    def post_training(self) -> "Quantization":
        """Return the scheme with the same operators, so the same speed, that needs no training of its own."""
        return Quantization.INT8 if self.needs_aware_training else self


@dataclass(frozen=True)
class _Scheme:
    needs_calibration: bool = False
    is_full_integer: bool = False
    supported_types: tuple[str, ...] = ()
    supported_ops: tuple[str, ...] = ()
    io_dtypes: tuple[str, ...] = ("float32",)


_SCHEMES: dict[Quantization, _Scheme] = {
    Quantization.FLOAT32: _Scheme(),
    Quantization.FLOAT16: _Scheme(supported_types=("float16",)),
    Quantization.DYNAMIC: _Scheme(),
    Quantization.INT8: _Scheme(
        needs_calibration=True,
        is_full_integer=True,
        supported_ops=("TFLITE_BUILTINS_INT8",),
        io_dtypes=IO_DTYPES,
    ),
    Quantization.INT16X8: _Scheme(
        needs_calibration=True,
        is_full_integer=True,
        supported_ops=("EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",),
    ),
    Quantization.QAT_INT8: _Scheme(is_full_integer=True, io_dtypes=IO_DTYPES),
}
