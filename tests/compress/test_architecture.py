"""MACs, parameters and sizes of an architecture, against Keras and an independent count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import architecture

from compress.architecture import BASE, Architecture, Block
from compress.errors import UsageError

architectures = st.builds(
    Architecture,
    stem_width=st.integers(1, 9),
    stem_stride=st.sampled_from([1, 2, 4]),
    blocks=st.lists(
        st.builds(Block, st.integers(1, 9), st.sampled_from([1, 2, 4])), min_size=1, max_size=4
    ).map(tuple),
)


def test_base_has_the_known_figures() -> None:
    assert BASE.macs == 46_354_432
    assert BASE.parameters == 3_217_226
    assert BASE.final_size == 2
    assert BASE.widths == (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)


@pytest.mark.slow
@settings(max_examples=15)
@given(architectures)
def test_macs_and_parameters_are_those_of_the_layers_that_keras_builds(shape: Architecture) -> None:
    from compress.network import build

    network = build(shape)
    macs = 0
    for layer in network.layers:
        kind = type(layer).__name__
        if kind == "Conv2D":
            macs += int(np.prod(layer.output_shape[1:])) * int(np.prod(layer.kernel.shape[:3]))
        elif kind == "DepthwiseConv2D":
            macs += int(np.prod(layer.output_shape[1:])) * 9
        elif kind == "Dense":
            macs += int(np.prod(layer.kernel.shape))
        elif kind == "AveragePooling2D":
            assert layer.input_shape[1:3] == (shape.final_size, shape.final_size)
            assert layer.output_shape[1:3] == (1, 1)
    assert shape.macs == macs
    assert shape.parameters == sum(int(np.prod(v.shape)) for v in network.trainable_variables)


@pytest.mark.parametrize(
    ("stem", "stride", "block", "message"),
    [
        (0, 1, Block(4, 1), "at least 1 channel, got 0"),
        (4, 1, Block(-3, 1), "at least 1 channel, got -3"),
        (4, 3, Block(4, 1), "1, 2 or 4, got 3"),
        (4, 1, Block(4, 8), "1, 2 or 4, got 8"),
    ],
)
def test_impossible_widths_and_strides_are_refused(
    stem: int, stride: int, block: Block, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Architecture(stem, stride, (block,))


def test_an_odd_map_is_rounded_up_as_same_padding_does() -> None:
    shape = architecture(2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, stem_stride=4)
    assert shape.final_size == 1  # 8, then six times half of it, which is never less than 1
