"""Errors keep their message and their remedy apart, also over a pipe and a wire."""

import json
import pickle

import pytest

from compress.errors import CandidateError
from compress.errors import UsageError as CompressUsageError
from edge.errors import (
    InvalidMeasurementError,
    ModelError,
    ThronesError,
    UnavailableError,
    UsageError,
    first_cause,
    one_line,
    with_prefix,
)
from edge.records import error_from_dict, error_to_dict

KINDS = [ModelError, InvalidMeasurementError, UnavailableError, UsageError]


def test_the_text_of_an_error_is_message_and_remedy_in_one_line():
    error = UsageError("threads must be >= 1, got 0", remedy="use 1")
    assert (error.message, error.remedy) == ("threads must be >= 1, got 0", "use 1")
    assert str(error) == "threads must be >= 1, got 0; use 1"
    assert str(UsageError("no plan")) == "no plan" and UsageError("no plan").remedy == ""


def test_all_packages_have_one_usage_error():
    assert CompressUsageError is UsageError
    assert issubclass(UsageError, ValueError)


@pytest.mark.parametrize("kind", [*KINDS, CandidateError])
def test_an_error_survives_a_pipe_between_processes(kind):
    error = pickle.loads(pickle.dumps(kind("the model hangs", remedy="convert it anew")))  # noqa: S301
    assert type(error) is kind
    assert (error.message, error.remedy) == ("the model hangs", "convert it anew")
    assert str(error) == "the model hangs; convert it anew"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_the_wire_with_its_fields(kind):
    told = json.loads(json.dumps(error_to_dict(kind("it is hot", remedy="put a fan on it"))))
    error = error_from_dict(told)
    assert type(error) is kind
    assert (error.message, error.remedy) == ("it is hot", "put a fan on it")


def test_a_foreign_error_becomes_the_devices_fault_in_one_line():
    told = error_to_dict(KeyError("x\nsecond line"))
    assert told == {"error": "UnavailableError", "message": repr("x\nsecond line"), "remedy": ""}
    assert type(error_from_dict({"error": "Strange", "message": "m"})) is UnavailableError


def test_a_prefix_says_what_an_error_is_about_and_keeps_class_and_remedy():
    error = with_prefix("a.tflite", ModelError("too large", remedy="prune it"))
    assert type(error) is ModelError
    assert (error.message, error.remedy) == ("a.tflite: too large", "prune it")


def test_exit_codes_say_whose_fault_it_is():
    codes = {kind: kind.exit_code for kind in (*KINDS, CandidateError, ThronesError)}
    assert codes == {
        ModelError: 2,
        InvalidMeasurementError: 1,
        UnavailableError: 1,
        UsageError: 2,
        CandidateError: 2,
        ThronesError: 1,
    }


def test_one_line_and_first_cause_shorten_what_a_library_says():
    assert one_line(ValueError("\n  first \nsecond")) == "first"
    assert one_line(ValueError()) == "ValueError"
    driver = OSError("no route to host")
    try:
        try:
            raise driver
        except OSError as error:
            raise ValueError("long story") from error
    except ValueError as error:
        assert first_cause(error) is driver
