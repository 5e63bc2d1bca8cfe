"""A check of what the converter made: the operators that were asked for and nothing else."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from compress.architecture import Architecture
from compress.errors import CandidateError
from compress.quantization import Quantization


class Operator(Protocol):
    """One operator of a `.tflite`: its name, the dtypes of its tensors, such as "float32", and what it puts out."""

    @property
    def name(self) -> str: ...
    @property
    def input_dtypes(self) -> tuple[str, ...]: ...
    @property
    def output_dtypes(self) -> tuple[str, ...]: ...
    @property
    def output_shape(self) -> tuple[int, ...]: ...


def audit(
    operators: Sequence[Operator], architecture: Architecture, quantization: Quantization, io_dtype: str
) -> dict[str, int]:
    """Count the operators; raise CandidateError for one missing, extra, of another size, or floating where all is int.

    Wanted are a convolution for the stem and two for each block, the mean over the map and the dense layer. float16
    adds DEQUANTIZE for its weights; an integer model QUANTIZE and DEQUANTIZE where its ends are not those that it
    computes in. int16x8 always has float ends.
    """
    counts = Counter(operator.name for operator in operators)
    blocks = len(architecture.blocks)
    wanted = Counter({"CONV_2D": 1 + blocks, "DEPTHWISE_CONV_2D": blocks})
    wanted.update(("MEAN", "FULLY_CONNECTED"))
    allowed = {"MEAN", "RESHAPE"}  # the mean of a 1x1 map is a reshape
    if quantization is Quantization.FLOAT16:
        allowed.add("DEQUANTIZE")
    if quantization.is_full_integer and io_dtype != "int8":
        allowed |= {"QUANTIZE", "DEQUANTIZE"}
    for name in sorted(set(counts) | set(wanted)):
        if name not in allowed and counts[name] != wanted[name]:
            raise CandidateError(f"the converted model has {counts[name]} x {name}, wanted {wanted[name]}")
    made = [operator.output_shape for operator in operators if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    asked = [(1, size, size, channels) for size, channels in architecture.maps]
    for number, (shape, other) in enumerate(zip(made, asked, strict=True)):
        if shape != other:
            raise CandidateError(f"convolution {number} of the converted model puts out {shape}, wanted {other}")
    if quantization.is_full_integer:
        for operator in operators:
            floats = [d for d in (*operator.input_dtypes, *operator.output_dtypes) if d.startswith("float")]
            at_the_ends = operator.name in ("QUANTIZE", "DEQUANTIZE") and io_dtype == "float32"
            if floats and not at_the_ends:
                raise CandidateError(
                    f"{operator.name} computes in {floats[0]}; a full-integer model must not"
                )
    return dict(sorted(counts.items()))
