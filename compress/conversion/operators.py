"""Verify what the converter made: the operators of the architecture and no others."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from compress.architecture import Architecture
from compress.errors import CandidateError
from compress.quantization import Quantization

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
CASTS = ("QUANTIZE", "DEQUANTIZE")


class Operator(Protocol):
    """One operator of a `.tflite`: its name, the dtypes of its tensors, such as "float32", and its output's shape."""

    @property
    def name(self) -> str: ...
    @property
    def input_dtypes(self) -> tuple[str, ...]: ...
    @property
    def output_dtypes(self) -> tuple[str, ...]: ...
    @property
    def output_shape(self) -> tuple[int, ...]: ...


def verify_operators(
    operators: Sequence[Operator], architecture: Architecture, quantization: Quantization, io_dtype: str
) -> dict[str, int]:
    """Return how often each operator occurs.

    Wanted are one convolution for the stem and two for each block, the mean over the map and the dense layer.
    FLOAT16 adds DEQUANTIZE for its weights. A full-integer model adds QUANTIZE and DEQUANTIZE where its input
    and output have another dtype than it computes in.

    Raises:
        CandidateError: an operator is missing, extra or of another size, or an operator of a full-integer
            model computes in floats.
    """
    counts = Counter(operator.name for operator in operators)
    _check_counts(counts, len(architecture.blocks), _of_any_number(quantization, io_dtype))
    _check_shapes(operators, architecture)
    if quantization.is_full_integer:
        casts = CASTS if io_dtype == "float32" else ()
        _check_integer([operator for operator in operators if operator.name not in casts])
    return dict(sorted(counts.items()))


def _of_any_number(quantization: Quantization, io_dtype: str) -> set[str]:
    """Return the operators whose number is not checked."""
    names = {"MEAN", "RESHAPE"}  # the mean of a 1x1 map is a reshape
    if quantization is Quantization.FLOAT16:
        names.add("DEQUANTIZE")
    if quantization.is_full_integer and io_dtype != "int8":
        names.update(CASTS)
    return names


def _check_counts(counts: Counter[str], blocks: int, of_any_number: set[str]) -> None:
    wanted = Counter({"CONV_2D": 1 + blocks, "DEPTHWISE_CONV_2D": blocks, "FULLY_CONNECTED": 1})
    for name in sorted(set(counts) | set(wanted)):
        if name not in of_any_number and counts[name] != wanted[name]:
            raise CandidateError(f"the converted model has {counts[name]} x {name}, wanted {wanted[name]}")


def _check_shapes(operators: Sequence[Operator], architecture: Architecture) -> None:
    found = [operator.output_shape for operator in operators if operator.name in CONVOLUTIONS]
    wanted = [(1, size, size, channels) for size, channels in architecture.maps]
    for number, (shape, wanted_shape) in enumerate(zip(found, wanted, strict=True)):
        if shape != wanted_shape:
            raise CandidateError(
                f"convolution {number} of the converted model puts out {shape}, wanted {wanted_shape}"
            )


def _check_integer(operators: Sequence[Operator]) -> None:
    for operator in operators:
        for dtype in (*operator.input_dtypes, *operator.output_dtypes):
            if dtype.startswith("float"):
                raise CandidateError(f"{operator.name} computes in {dtype}; a full-integer model must not")
