"""The specification of a candidate: JSON, key, checks, and the architecture it leads to."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from compress.architecture import BASE
from compress.errors import UsageError
from compress.spec import CompressionSpec, check_pruning_ratio, kept_channels

ratios = st.floats(0, 1, exclude_max=True)


@st.composite
def specs(draw: st.DrawFn) -> CompressionSpec:
    quantization = draw(st.sampled_from(["float32", "float16", "dynamic", "int8", "int16x8", "qat_int8"]))
    integer = quantization in ("int8", "qat_int8")
    dropped = tuple(sorted(draw(st.sets(st.integers(0, 12), max_size=12))))
    return CompressionSpec(
        pruning_ratios=tuple(draw(st.lists(ratios, min_size=14, max_size=14))),
        round_to=draw(st.sampled_from([1, 4, 8, 16])),
        dropped_blocks=dropped,
        stem_stride=draw(st.sampled_from([1, 2, 4])),
        epochs=draw(st.integers(0, 50)),
        learning_rate=draw(st.floats(1e-6, 1)),
        augment=draw(st.booleans()),
        distill_weight=draw(st.floats(0, 1)),
        quantization=quantization,
        io_dtype=draw(st.sampled_from(["float32", "int8", "uint8"])) if integer else "float32",
        threads=draw(st.integers(1, 4)),
        parent=draw(st.sampled_from([None, CompressionSpec(epochs=3)])) if not dropped else None,
    )


@given(specs())
def test_json_gives_the_same_spec_and_key_back(spec: CompressionSpec) -> None:
    again = CompressionSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.key() == spec.key()


@given(specs(), specs())
def test_keys_are_equal_exactly_for_equal_specs(one: CompressionSpec, other: CompressionSpec) -> None:
    assert (one.key() == other.key()) == (one == other)


def test_every_field_is_part_of_the_key() -> None:
    base = CompressionSpec(quantization="int8")
    changes: dict[str, Any] = {
        "fractions": (0.1,) + (0.0,) * 13, "round_to": 8, "dropped_blocks": (3,), "stem_stride": 2, "epochs": 1,
        "learning_rate": 0.1, "augment": False, "distill_weight": 0.5, "quantization": "qat_int8",
        "ends": "uint8", "threads": 4,
        "parent": base.to_dict(),
    }  # fmt: skip
    assert set(changes) == set(base.to_dict()), "a new field needs a line here"
    keys = {
        CompressionSpec.from_dict({**base.to_dict(), name: value}).key() for name, value in changes.items()
    }
    assert len(keys | {base.key()}) == len(changes) + 1


def test_stored_names_and_keys_are_those_of_studies_that_are_there() -> None:
    spec = CompressionSpec((0.5,) * 14, quantization="int8", io_dtype="uint8")  # type: ignore[arg-type]  # as in JSON
    stored = spec.to_dict()
    assert (stored["fractions"], stored["ends"], stored["quantization"]) == ([0.5] * 14, "uint8", "int8")
    assert spec.key() == "6053e16d5acd9cd0"
    parent = CompressionSpec((0.7,) * 14, dropped_blocks=(7, 8), stem_stride=2, epochs=2)
    assert parent.key() == "ed38199754fef8d0"
    assert replace(parent, parent=parent).key() == "441614e27c9494c6"


def test_an_architecture_is_built_once_and_changes_no_equality() -> None:
    spec, other = CompressionSpec((0.5,) * 14), CompressionSpec((0.5,) * 14)
    assert spec.architecture() is spec.architecture()
    assert spec == other and hash(spec) == hash(other)
    assert spec.to_dict() == other.to_dict()
    assert replace(spec, stem_stride=2).architecture().stem_stride == 2


def test_a_parent_has_as_many_blocks_and_its_epochs_count() -> None:
    child = CompressionSpec(epochs=4, parent=CompressionSpec(epochs=3, parent=CompressionSpec(epochs=2)))
    assert child.all_epochs == 9
    with pytest.raises(UsageError, match="a parent must have as many blocks: 12, got 13"):
        CompressionSpec(dropped_blocks=(3,), parent=CompressionSpec())


def test_equal_numbers_of_other_types_have_the_same_key() -> None:
    plain = CompressionSpec(pruning_ratios=(0.0,) * 14, epochs=3, learning_rate=1.0, dropped_blocks=(2,))
    for zero in (0, -0.0, np.float32(0), False):
        other = CompressionSpec(
            pruning_ratios=[zero] * 14,  # type: ignore[arg-type]  # a list, as JSON has it
            epochs=np.int64(3),  # type: ignore[arg-type]
            learning_rate=1,
            dropped_blocks=[np.int64(2)],  # type: ignore[arg-type]
        )
        assert other == plain
        assert other.key() == plain.key()
        assert hash(other) == hash(plain)


def test_the_key_is_the_same_in_every_process() -> None:
    code = "from compress.spec import CompressionSpec; print(CompressionSpec((0.3,) * 14, epochs=2).key())"
    keys = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    assert keys == {CompressionSpec((0.3,) * 14, epochs=2).key()}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fractions": (1.0,) + (0.0,) * 13}, ">= 0 and < 1, got 1.0"),
        ({"fractions": (-0.1,) + (0.0,) * 13}, ">= 0 and < 1, got -0.1"),
        ({"fractions": (float("nan"),) * 14}, ">= 0 and < 1, got nan"),
        ({"fractions": (0.5,) * 13}, "must be 14 numbers .*, got 13"),
        ({"fractions": ("0.5",) * 14}, "pruning_ratios must be a number, got '0.5'"),
        ({"round_to": 0}, "round_to must be >= 1, got 0"),
        ({"epochs": -1}, "epochs must be >= 0, got -1"),
        ({"epochs": 2.5}, "epochs must be a whole number, got 2.5"),
        ({"threads": 0}, "threads must be >= 1, got 0"),
        ({"stem_stride": 3}, "stem_stride must be one of 1, 2, 4, got 3"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0.0"),
        ({"learning_rate": float("inf")}, "learning_rate must be > 0, got inf"),
        ({"learning_rate": None}, "learning_rate must be a number, got None"),
        ({"distill_weight": 1.5}, "within 0..1, got 1.5"),
        ({"distill_weight": float("nan")}, "within 0..1, got nan"),
        ({"augment": "no"}, "augment must be one of True, False, got no"),
        ({"dropped_blocks": (3, 1)}, r"rising numbers within 0..12, got \[3, 1\]"),
        ({"dropped_blocks": (2, 2)}, r"rising numbers within 0..12, got \[2, 2\]"),
        ({"dropped_blocks": (13,)}, r"rising numbers within 0..12, got \[13\]"),
        ({"dropped_blocks": tuple(range(13))}, "all 13 blocks are dropped"),
        ({"quantization": "int4"}, "quantization must be one of float32, .*, got int4"),
        ({"ends": "int16", "quantization": "int8"}, "io_dtype must be one of float32, int8, uint8, got int16"),
        ({"ends": "uint8"}, "io_dtype uint8 needs quantization int8 or qat_int8, got float32"),
        ({"ends": "int8", "quantization": "int16x8"}, "io_dtype int8 needs .*, got int16x8"),
        ({"parent": {"quantization": "qat_int8"}}, "a parent must be trained in float, got qat_int8"),
        ({"epoch": 3}, "unknown name 'epoch' in a spec; a spec has fractions, .*"),
    ],
)
def test_a_bad_value_is_named_with_its_limit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CompressionSpec.from_dict(values)


@pytest.mark.parametrize(
    ("channels", "ratio", "round_to", "kept"),
    [
        (100, 0.29, 1, 71),  # 100 * 0.29 is 28.999999999999996
        (32, 0.05, 1, 31),  # 1.6 channels: the whole ones go
        (10, 0.999, 1, 1),
        (1, 0.9, 1, 1),
        (64, 0.5, 8, 32),
        (64, 0.49, 8, 40),  # 33 channels, rounded up
        (6, 0.5, 8, 6),  # never more than there are
        (1024, 0.9999, 16, 16),
    ],
)
def test_kept_channels(channels: int, ratio: float, round_to: int, kept: int) -> None:
    assert kept_channels(channels, ratio, round_to) == kept


@given(st.integers(1, 2000), ratios, st.integers(1, 32))
def test_kept_channels_stay_within_the_layer(channels: int, ratio: float, round_to: int) -> None:
    kept = kept_channels(channels, ratio, round_to)
    assert 1 <= kept <= channels
    assert kept % round_to == 0 or kept == channels
    assert kept >= channels * (1 - ratio) - 1e-6


@pytest.mark.parametrize("ratio", [1.0, -1e-9, float("nan"), float("inf")])
def test_a_pruning_ratio_is_at_least_zero_and_below_one(ratio: float) -> None:
    with pytest.raises(UsageError, match="at least one channel stays"):
        check_pruning_ratio(ratio)


def test_nothing_pruned_is_the_base() -> None:
    assert CompressionSpec().architecture() == BASE
    assert CompressionSpec(stem_stride=2).architecture().stem_stride == 2


@pytest.mark.parametrize(
    ("dropped", "strides"),
    [
        ((), (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)),
        ((1,), (1, 2, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)),  # block 2 takes over block 1's stride
        ((6, 7), (1, 2, 1, 2, 1, 2, 1, 1, 1, 2, 1)),
        ((1, 2), (1, 4, 1, 2, 1, 1, 1, 1, 1, 2, 1)),  # 2 from block 1 and its own 2
        ((1, 2, 3, 4), (1, 4, 2, 1, 1, 1, 1, 2, 1)),  # 8 is too much for one: the rest moves on again
        ((11, 12), (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1)),  # nobody is left to take it
        (tuple(range(12)), (4,)),
    ],
)
def test_a_dropped_blocks_stride_moves_on(dropped: tuple[int, ...], strides: tuple[int, ...]) -> None:
    spec = CompressionSpec(dropped_blocks=dropped)
    assert tuple(block.stride for block in spec.architecture().blocks) == strides
    assert spec.architecture().widths[1:] == tuple(BASE.widths[k + 1] for k in spec.kept_blocks)
