"""The six quantizations of a small network, the operators they may have, and a child process that dies."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from networks import architecture, random_images, random_network

from compress.architecture import BASE
from compress.conversion.convert import ConversionJob, Converter
from compress.conversion.operators import verify_operators
from compress.errors import CandidateError
from compress.network import build, quantization_aware
from compress.quantization import Quantization
from compress.training.train import logits
from edge.runtime.tflite import open_interpreter, read_operators

SHAPE = architecture(8, 16, 16)
IMAGES = random_images(20)


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    with Converter() as opened:
        yield opened


@pytest.fixture(scope="module")
def network() -> Any:
    return random_network(SHAPE)


def _job(network: Any, quantization: str, io_dtype: str = "float32", **changes: Any) -> ConversionJob:
    scheme = Quantization(quantization)
    if scheme.needs_aware_training:
        deployed = build(SHAPE, for_export=True)
        deployed.set_weights(network.get_weights())
        network = quantization_aware(deployed)
    values = {"weights": network.get_weights(), "calibration": IMAGES, **changes}
    return ConversionJob(SHAPE, quantization=scheme, io_dtype=io_dtype, **values)


CASES = [*((q, "float32") for q in Quantization), ("int8", "int8"), ("int8", "uint8"), ("qat_int8", "uint8")]


@pytest.mark.slow
@pytest.mark.parametrize(("quantization", "io_dtype"), CASES)
def test_each_quantization_converts_and_passes_the_audit(
    converter: Converter, network: Any, quantization: str, io_dtype: str
) -> None:
    model = converter.convert(_job(network, quantization, io_dtype))
    counts = verify_operators(read_operators(model), SHAPE, Quantization(quantization), io_dtype)
    assert (counts["CONV_2D"], counts["DEPTHWISE_CONV_2D"]) == (3, 2)
    interpreter = open_interpreter(model, threads=1)  # checks the shapes as well
    for details in (*interpreter.get_input_details(), *interpreter.get_output_details()):
        assert details["dtype"] == np.dtype(io_dtype)


def _outputs(model: bytes, images: np.ndarray) -> np.ndarray:
    interpreter = open_interpreter(model, threads=1)
    outputs = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None].astype(np.float32))
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.array(outputs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantization", "tolerance"), [("float32", 1e-4), ("float16", 0.02), ("int16x8", 0.1)]
)
def test_outputs_agree_with_keras(
    converter: Converter, network: Any, quantization: str, tolerance: float
) -> None:
    expected = logits(network, IMAGES)
    assert np.ptp(expected) > 0.2, "all alike: the comparison would show nothing"
    found = _outputs(converter.convert(_job(network, quantization)), IMAGES)
    np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.slow
def test_the_base_has_14_convolutions_13_depthwise_ones_and_the_head(converter: Converter) -> None:
    model = converter.convert(ConversionJob(BASE, build(BASE).get_weights(), Quantization.FLOAT32))
    counts = verify_operators(read_operators(model), BASE, Quantization.FLOAT32, "float32")
    assert counts == {"CONV_2D": 14, "DEPTHWISE_CONV_2D": 13, "FULLY_CONNECTED": 1, "MEAN": 1}


def test_the_file_says_that_it_gives_logits(converter: Converter, network: Any) -> None:
    assert b"logits" in converter.convert(_job(network, "int8", "int8"))


@pytest.mark.slow
def test_equal_jobs_give_equal_bytes(converter: Converter, network: Any) -> None:
    job = _job(network, "int8", "int8")
    assert converter.convert(job) == converter.convert(job)


@pytest.mark.slow
def test_what_the_converter_refuses_is_the_candidates_fault(converter: Converter, network: Any) -> None:
    for nothing in (None, IMAGES[:0]):
        with pytest.raises(
            CandidateError, match="refused this model: .*int8 needs calibration images, got none"
        ):
            converter.convert(_job(network, "int8", calibration=nothing))
    with pytest.raises(CandidateError, match="refused this model"):
        converter.convert(_job(network, "float32", weights=[]))


class _InTheChild:
    """Calls a function where it is unpickled: in the converter's process."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.slow
def test_a_child_that_hangs_or_dies_costs_one_model_and_not_the_next(network: Any) -> None:
    good = _job(network, "float32")
    with Converter(time_limit_s=0.2) as converter:
        with pytest.raises(CandidateError, match=r"did not end within 0\.2 s"):
            converter.convert(_job(network, "float32", weights=_InTheChild(time.sleep, 60)))
        converter.time_limit_s = 300
        with pytest.raises(CandidateError, match="died on this model .exit code 7"):
            converter.convert(_job(network, "float32", weights=_InTheChild(os._exit, 7)))
        first = converter.convert(good)
        converter._process.kill()  # as the kernel does when memory runs out
        converter._process.join()
        assert converter.convert(good) == first
        child = converter._process
    assert not child.is_alive()


def test_an_interrupted_conversion_leaves_no_answer_for_the_next(
    network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Converter() as converter:
        child, pipe = converter._process, converter._pipe

        def interrupt(limit: float) -> bool:
            raise KeyboardInterrupt

        monkeypatch.setattr(type(pipe), "poll", lambda self, limit: interrupt(limit))
        with pytest.raises(KeyboardInterrupt):
            converter.convert(_job(network, "float32"))
        assert not child.is_alive()
        assert pipe.closed


@dataclass(frozen=True)
class _Operator:
    name: str
    input_dtypes: tuple[str, ...] = ("int8",)
    output_dtypes: tuple[str, ...] = ("int8",)
    output_shape: tuple[int, ...] = (1, 1)


def _convolutions() -> list[_Operator]:
    kinds = ["CONV_2D", *["DEPTHWISE_CONV_2D", "CONV_2D"] * len(SHAPE.blocks)]
    made = zip(kinds, SHAPE.maps, strict=True)
    return [_Operator(kind, output_shape=(1, size, size, channels)) for kind, (size, channels) in made]


GOOD = [*_convolutions(), _Operator("MEAN"), _Operator("FULLY_CONNECTED")]
FLOAT_CONVOLUTION = [replace(GOOD[0], input_dtypes=("float32",), output_dtypes=("float32",)), *GOOD[1:]]
FLOAT_ENDS = [_Operator("QUANTIZE", ("float32",)), *GOOD, _Operator("DEQUANTIZE", ("int8",), ("float32",))]


def test_the_audit_counts_what_is_right() -> None:
    assert verify_operators(GOOD, SHAPE, Quantization.INT8, "int8")["CONV_2D"] == 3
    assert verify_operators(FLOAT_ENDS, SHAPE, Quantization.INT8, "float32")["QUANTIZE"] == 1
    assert verify_operators(FLOAT_CONVOLUTION, SHAPE, Quantization.DYNAMIC, "float32")["MEAN"] == 1


@pytest.mark.parametrize(
    ("operators", "quantization", "io_dtype", "message"),
    [
        (GOOD[:-1], "float32", "float32", "has 0 x FULLY_CONNECTED, wanted 1"),
        (GOOD[1:], "float32", "float32", "has 2 x CONV_2D, wanted 3"),
        ([*GOOD, _Operator("MUL")], "int8", "int8", "has 1 x MUL, wanted 0"),
        (FLOAT_ENDS, "float32", "float32", "has 1 x DEQUANTIZE, wanted 0"),
        (FLOAT_ENDS, "int8", "int8", "has 1 x DEQUANTIZE, wanted 0"),
        (FLOAT_ENDS, "int8", "uint8", "QUANTIZE computes in float32"),
        (FLOAT_CONVOLUTION, "int8", "float32", "CONV_2D computes in float32"),
        (FLOAT_CONVOLUTION, "qat_int8", "float32", "CONV_2D computes in float32"),
        (FLOAT_CONVOLUTION, "int16x8", "float32", "CONV_2D computes in float32"),
        ([replace(GOOD[0], output_shape=(1, 9, 9, 1)), *GOOD[1:]], "int8", "int8", r"puts out \(1, 9, 9, 1\), wanted"),
    ],
)
def test_the_audit_refuses(operators: list[_Operator], quantization: str, io_dtype: str, message: str) -> None:
    with pytest.raises(CandidateError, match=message):
        verify_operators(operators, SHAPE, Quantization(quantization), io_dtype)
