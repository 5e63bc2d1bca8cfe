"""The quantization schemes: their stored names, and what each needs and gives."""

import json

import pytest

from compress.errors import UsageError
from compress.quantization import Quantization


def test_a_scheme_is_its_stored_name_in_text_and_json() -> None:
    names = ["float32", "float16", "dynamic", "int8", "int16x8", "qat_int8"]
    assert [str(scheme) for scheme in Quantization] == names
    assert [f"{scheme}" for scheme in Quantization] == names
    assert json.loads(json.dumps(list(Quantization))) == names
    assert {scheme: 1 for scheme in Quantization} == dict.fromkeys(names, 1)


def test_an_unknown_scheme_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="quantization must be one of float32, .*, qat_int8, got int4"):
        Quantization("int4")


def test_what_each_scheme_needs() -> None:
    assert {scheme for scheme in Quantization if scheme.needs_calibration} == {"int8", "int16x8"}
    assert {scheme for scheme in Quantization if scheme.needs_aware_training} == {"qat_int8"}
    assert {scheme for scheme in Quantization if scheme.is_full_integer} == {"int8", "int16x8", "qat_int8"}
    assert Quantization.QAT_INT8.post_training is Quantization.INT8
    assert Quantization.INT16X8.post_training is Quantization.INT16X8


@pytest.mark.parametrize("scheme", Quantization)
@pytest.mark.parametrize("wanted", ["float32", "int8", "uint8"])
def test_only_int8_models_take_integers(scheme: Quantization, wanted: str) -> None:
    takes_integers = scheme in ("int8", "qat_int8")
    assert scheme.io_dtype(wanted) == (wanted if takes_integers else "float32")
