"""Pruning keeps the function: masked and removed networks agree, and the strongest channels survive."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import architecture, random_images, random_network, random_weights, weight_shapes

from compress import prune
from compress.architecture import BASE, Architecture, Block
from compress.errors import UsageError
from compress.network import architecture_of, build
from compress.prune import channel_fraction_pruning, inherit, remove_channel, resize, top_l1_channels
from compress.spec import CompressionSpec, kept_channels
from compress.tensorflow_setup import tf
from compress.training.train import logits

IMAGES = np.concatenate([random_images(6), np.zeros((1, 32, 32, 3), np.uint8)])


@pytest.fixture(autouse=True, scope="module")
def eager() -> Iterator[None]:
    """Tracing a graph for every small network takes a hundred times as long as running it."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def _agree(one: Any, other: Any) -> None:
    """Logits, because a saturated softmax hides differences."""
    expected, found = logits(one, IMAGES), logits(other, IMAGES)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


shapes = st.builds(
    Architecture,
    stem_width=st.integers(1, 12),
    stem_stride=st.sampled_from([2, 4]),
    blocks=st.lists(
        st.builds(Block, st.integers(1, 12), st.sampled_from([1, 2])), min_size=1, max_size=3
    ).map(tuple),
)
fraction = st.floats(0, 1, exclude_max=True)


@pytest.mark.slow
@settings(max_examples=12)
@given(shapes, st.integers(0, 1000), st.data())
def test_masked_and_removed_networks_compute_the_same(
    shape: Architecture, seed: int, data: st.DataObject
) -> None:
    layers = len(shape.widths)
    share = data.draw(fraction | st.lists(fraction, min_size=layers, max_size=layers), label="fraction")
    network = random_network(shape, seed)
    before = network.get_weights()
    masked = channel_fraction_pruning(network, share)
    removed = remove_channel(masked)

    shares = share if isinstance(share, list) else [share] * layers
    wanted = tuple(kept_channels(width, s) for width, s in zip(shape.widths, shares, strict=True))
    assert architecture_of(removed).widths == wanted
    assert architecture_of(removed).final_size == shape.final_size
    assert architecture_of(masked) == shape
    _agree(masked, removed)
    for was, now in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(now, was, "channel_fraction_pruning changed its argument")


def test_a_network_with_dropped_blocks_is_pruned_alike() -> None:
    spec = CompressionSpec(pruning_ratios=(0.98,) * 14, dropped_blocks=(1, 2, 3, 4, 7, 8, 9, 10, 11))
    shape = spec.architecture()
    assert 4 in [block.stride for block in shape.blocks]
    masked = channel_fraction_pruning(random_network(shape), 0.4)
    removed = remove_channel(masked)
    assert architecture_of(removed).widths == tuple(kept_channels(width, 0.4) for width in shape.widths)
    _agree(masked, removed)


def test_nothing_pruned_changes_nothing() -> None:
    network = random_network(architecture(5, 6, 7))
    _agree(network, remove_channel(channel_fraction_pruning(network, 0)))


def test_masking_silences_and_so_changes_the_outputs() -> None:
    network = random_network(architecture(8, 8, 8))
    assert (
        np.abs(logits(channel_fraction_pruning(network, 0.5), IMAGES) - logits(network, IMAGES)).max() > 0.1
    )


def test_one_channel_of_each_layer_is_left_and_works() -> None:
    masked = channel_fraction_pruning(random_network(architecture(9, 6, 7, 8)), 0.999)
    removed = remove_channel(masked)
    assert set(architecture_of(removed).widths) == {1}
    _agree(masked, removed)


def test_a_layer_whose_channels_are_all_silent_keeps_one() -> None:
    network = random_network(architecture(4, 5))
    silent = [np.zeros_like(w) if 0 < n < 15 else w for n, w in enumerate(network.get_weights())]
    network.set_weights(silent)
    removed = remove_channel(network)
    assert architecture_of(removed).widths == (1, 1)
    _agree(network, removed)


def test_a_channel_that_gives_a_constant_stays() -> None:
    network = random_network(architecture(4, 5))
    weights = network.get_weights()
    weights[1][2] = weights[2][2] = 0  # silent itself, but the depthwise BatchNorm behind it has an offset
    weights[7][2] = 3
    network.set_weights(weights)
    removed = remove_channel(network)
    assert architecture_of(removed).widths == (4, 5)
    _agree(network, removed)


def test_exactly_the_weakest_channels_go() -> None:
    network = random_network(architecture(4, 5))
    weights = network.get_weights()
    weights[0][...] = np.array([0.3, -0.1, 0.2, -0.4], np.float32)  # signs do not count
    weights[10][...] = np.array([0.5, 0.1, 0.4, 0.2, 0.3], np.float32)
    network.set_weights(weights)
    smaller = remove_channel(channel_fraction_pruning(network, [0.5, 0.4])).get_weights()
    np.testing.assert_array_equal(smaller[0], weights[0][..., [0, 3]])
    np.testing.assert_array_equal(smaller[5], weights[5][:, :, [0, 3]])
    np.testing.assert_array_equal(smaller[9], weights[9][[0, 3]])
    np.testing.assert_array_equal(smaller[10], weights[10][:, :, [0, 3]][..., [0, 2, 4]])
    np.testing.assert_array_equal(smaller[14], weights[14][[0, 2, 4]])
    np.testing.assert_array_equal(smaller[-2], weights[-2][[0, 2, 4]])


def test_strongest_takes_the_lower_index_on_a_tie() -> None:
    kernel = np.zeros((1, 1, 2, 4), np.float32)
    kernel[0, 0, :, 3] = 1
    assert top_l1_channels(kernel, 2).tolist() == [0, 3]
    assert top_l1_channels(kernel, 1, axis=2).tolist() == [0]


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (1.0, "< 1, got 1.0"),
        (-0.1, ">= 0 and < 1, got -0.1"),
        (float("nan"), "got nan"),
        ([0.5, 0.5], "one pruning ratio or 3 .*, got 2"),
        ([0.5, 1.5, 0.5], "got 1.5"),
    ],
)
def test_a_bad_fraction_is_refused(share: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        channel_fraction_pruning(build(architecture(2, 2, 2)), share)


@pytest.mark.slow
def test_numpys_numbers_and_arrays_are_fractions_too() -> None:
    network = random_network(architecture(4, 4, 4))
    for share in (np.float32(0.5), np.full(3, 0.5)):
        assert architecture_of(remove_channel(channel_fraction_pruning(network, share))).widths == (2, 2, 2)


BASE_WEIGHTS = random_weights(weight_shapes(BASE), 1)


@pytest.mark.slow
@settings(max_examples=12)
@given(shapes, st.data())
def test_a_widened_network_computes_what_it_did(old: Architecture, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prune, "COPY_NOISE", 0.0)
        more = data.draw(st.lists(st.integers(0, 20), min_size=len(old.widths), max_size=len(old.widths)))
        widths = [width + extra for width, extra in zip(old.widths, more, strict=True)]
        blocks = tuple(replace(block, width=width) for block, width in zip(old.blocks, widths[1:], strict=True))
        new = replace(old, stem_width=widths[0], blocks=blocks)
        network, wider = random_network(old), build(new)
        wider.set_weights(resize(network.get_weights(), old, new))
    _agree(network, wider)


def test_a_narrowed_network_keeps_the_strongest_channels_and_copies_part() -> None:
    old, new = architecture(8, 12, 16), architecture(5, 20, 9)
    weights = random_network(old).get_weights()
    smaller = resize(weights, old, new)
    assert [weight.shape for weight in smaller] == weight_shapes(new)
    np.testing.assert_array_equal(smaller[0], weights[0][..., top_l1_channels(weights[0], 5)])
    assert resize(weights, old, old)[10].tolist() == weights[10].tolist()
    filters = smaller[10][0, 0].T
    assert len({tuple(column) for column in filters.tolist()}) == 20  # no two alike
    with pytest.raises(ValueError, match="2 blocks cannot be resized to 1"):
        resize(weights, old, architecture(8, 12))


@pytest.mark.slow
def test_inherit_is_pruning_and_removing_when_no_block_is_dropped() -> None:
    shares = tuple(np.linspace(0.5, 0.98, 14))
    network = build(BASE)
    network.set_weights(BASE_WEIGHTS)
    removed = remove_channel(channel_fraction_pruning(network, shares))
    inherited = inherit(BASE_WEIGHTS, CompressionSpec(pruning_ratios=shares))
    for found, expected in zip(inherited, removed.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=30)
@given(
    st.lists(st.floats(0.9, 1, exclude_max=True), min_size=14, max_size=14),
    st.sampled_from([1, 4]),
    st.sets(st.integers(0, 12), max_size=12).map(sorted),
)
def test_inherited_weights_fit_the_specs_architecture(
    shares: list[float], round_to: int, dropped: list[int]
) -> None:
    spec = CompressionSpec(tuple(shares), round_to, tuple(dropped), stem_stride=4)
    inherited = inherit(BASE_WEIGHTS, spec)
    assert [weight.shape for weight in inherited] == weight_shapes(spec.architecture())


def test_behind_a_dropped_block_the_strongest_inputs_are_taken() -> None:
    weights = BASE_WEIGHTS
    spec = CompressionSpec(pruning_ratios=(0.5,) * 14, dropped_blocks=(1, 12))
    inherited = inherit(weights, spec)
    inputs = top_l1_channels(
        weights[5 + 10 * 2 + 5], 32, axis=2
    )  # 32 of block 0's 64 arrive at block 2's 128 inputs
    np.testing.assert_array_equal(inherited[15], weights[25][:, :, inputs])
    np.testing.assert_array_equal(inherited[-2], weights[-2][top_l1_channels(weights[-2], 512, axis=0)])
