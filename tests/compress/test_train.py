"""Batches, the fast convolution, and a trainer that learns, resumes and gives up in time."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import architecture, random_images, random_network

from compress.errors import CandidateError
from compress.network import build
from compress.tensorflow_setup import keras, tf
from compress.training import train as module
from compress.training.fast_layers import FastNormalization, FastPointwise
from compress.training.train import Trainer, accuracy, batches, logits, train
from compress.training.train_plan import TrainPlan

SHAPE = architecture(8, 8, stem_stride=4)
PLAN = TrainPlan(epochs=6, learning_rate=0.05, batch_size=16)
LABELS = np.arange(64) % 4
IMAGES = np.clip(np.array([[0, 0, 0], [250, 0, 0], [0, 250, 0], [0, 0, 250]])[LABELS][:, None, None]
                 + random_images(64) // 8, 0, 255).astype(np.uint8)  # fmt: skip


@pytest.fixture(scope="module")
def eager() -> Iterator[None]:
    """Tracing a graph takes longer than running these networks."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def _numbered(count: int) -> np.ndarray:
    """Images with row + 1, column + 1 and index + 1 in each pixel; padding is 0."""
    images = np.empty((count, 32, 32, 3), np.uint8)
    images[..., 0] = np.arange(1, 33)[:, None]
    images[..., 1] = np.arange(1, 33)
    images[..., 2] = np.arange(1, count + 1)[:, None, None]
    return images


def _epoch(images: np.ndarray, seed: int = 0, **changes: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    settings = {"crop": 32, "flip": True, **changes}
    plan = TrainPlan(1, 0.05, batch_size=16, augment=settings.pop("augment", True))
    return list(batches(images, plan, np.random.default_rng(seed), **settings))


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize(("crop", "pad"), [(32, 4), (24, 0)])
def test_crops_are_windows_of_the_padded_image(crop: int, pad: int, flip: bool) -> None:
    images = _numbered(96)
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    mirrored, shifts = 0, set()
    for chosen, cut in _epoch(images, crop=crop, flip=flip):
        assert (cut.shape, cut.dtype) == ((16, crop, crop, 3), np.uint8)
        for index, image in zip(chosen, cut, strict=True):
            middle = image[crop // 2]
            mirror = middle[15, 1] > middle[16, 1]  # columns fall
            plain = image[:, ::-1] if mirror else image
            top = int(plain[crop // 2, crop // 2, 0]) - 1 + pad - crop // 2
            left = int(plain[crop // 2, crop // 2, 1]) - 1 + pad - crop // 2
            np.testing.assert_array_equal(plain, padded[index, top : top + crop, left : left + crop])
            mirrored += mirror
            shifts.add((top, left))
    assert (30 < mirrored < 66) if flip else mirrored == 0
    assert {top for top, _ in shifts} == {left for _, left in shifts} == set(range(9))
    assert images.tobytes() == _numbered(96).tobytes()


@pytest.mark.parametrize("augment", [True, False])
def test_every_image_comes_at_most_once_and_batches_are_full(augment: bool) -> None:
    chosen = [indices for indices, _ in _epoch(_numbered(70), augment=augment)]
    assert [len(indices) for indices in chosen] == [16] * 4
    assert len(set(np.concatenate(chosen).tolist())) == 64


def test_without_augmentation_images_are_untouched() -> None:
    images = _numbered(32)
    for chosen, same in _epoch(images, augment=False):
        np.testing.assert_array_equal(same, images[chosen])


def test_the_seed_decides_the_batches() -> None:
    images = _numbered(64)
    one, same, other = (_epoch(images, seed) for seed in (1, 1, 2))
    for (indices, cut), (indices_again, cut_again) in zip(one, same, strict=True):
        np.testing.assert_array_equal(indices, indices_again)
        np.testing.assert_array_equal(cut, cut_again)
    assert one[0][0].tolist() != other[0][0].tolist()


def test_the_fast_convolution_has_conv2ds_values_and_gradients() -> None:
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(3, 5, 4, 7)).astype(np.float32))
    upstream = tf.constant(rng.normal(size=(3, 5, 4, 6)).astype(np.float32))
    kernel = rng.normal(size=(1, 1, 7, 6)).astype(np.float32)
    results = []
    for kind in (keras.layers.Conv2D, FastPointwise):
        layer = kind(6, 1, padding="same", use_bias=False)
        layer.build(images.shape)
        layer.set_weights([kernel])
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = layer(images)
            loss = tf.reduce_sum(value * upstream)
        results.append([value, *tape.gradient(loss, [images, layer.kernel])])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_fast_normalization_has_batchnorms_values_gradients_and_statistics() -> None:
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(3, 2, size=(6, 5, 4, 7)).astype(np.float32))
    upstream = tf.constant(rng.normal(size=(6, 5, 4, 7)).astype(np.float32))
    given = [rng.normal(size=7).astype(np.float32) for _ in range(3)] + [rng.random(7).astype(np.float32)]
    results = []
    for kind in (keras.layers.BatchNormalization, FastNormalization):
        layer = kind(epsilon=1e-5, momentum=0.95)
        layer.build(images.shape)
        layer.set_weights(given)
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = layer(images, training=True)
            loss = tf.reduce_sum(value * upstream)
        gradients = tape.gradient(loss, [images, layer.gamma, layer.beta])
        results.append([value, *gradients, *layer.get_weights(), layer(images, training=False)])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def _trainer(plan: TrainPlan = PLAN, **changes: Any) -> Trainer:
    keras.utils.set_random_seed(0)
    return Trainer(build(SHAPE), plan, IMAGES, LABELS, **{"seed": 0, "flip": True, **changes})


@pytest.mark.slow
def test_training_learns_a_separable_problem(eager: None) -> None:
    trainer = _trainer()
    epochs = []
    history = train(trainer, (IMAGES, LABELS), epochs.append)
    assert epochs == history
    assert [epoch.number for epoch in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1].loss < history[0].loss / 2
    assert history[-1].accuracy > 90
    assert accuracy(trainer.network, IMAGES, LABELS) == history[-1].accuracy


@pytest.mark.slow
def test_training_in_a_graph_is_the_same_as_step_by_step(eager: None) -> None:
    plan = replace(PLAN, epochs=1)
    one, other = _trainer(plan), _trainer(plan)
    step_by_step = one.epoch(0)
    tf.config.run_functions_eagerly(False)
    in_a_graph = other.epoch(0)
    tf.config.run_functions_eagerly(True)
    assert in_a_graph == pytest.approx(step_by_step, rel=1e-4)


@pytest.mark.slow
def test_a_restored_trainer_goes_on_as_if_never_stopped(eager: None) -> None:
    whole, begun = _trainer(), _trainer()
    losses = [whole.epoch(number) for number in range(3)]
    begun.epoch(0)
    resumed = _trainer(seed=0)
    resumed.epoch(0)  # something to be forgotten
    resumed.epoch(1)
    resumed.restore([array.copy() for array in begun.state()])
    assert [resumed.epoch(1), resumed.epoch(2)] == pytest.approx(losses[1:], rel=1e-4)
    for expected, found in zip(whole.state(), resumed.state(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_epochs_are_counted_on_from_those_before(monkeypatch: pytest.MonkeyPatch, eager: None) -> None:
    seen: list[list[int]] = []
    real = module.batches

    def noted(*arguments: Any, **settings: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        found = list(real(*arguments, **settings))
        seen.append([settings["crop"], *np.concatenate([indices for indices, _ in found])])
        yield from found

    monkeypatch.setattr(module, "batches", noted)
    first, second = _trainer(), _trainer(replace(PLAN, small_crop_epochs=1), first_epoch=2)
    for trainer, number in ((first, 0), (first, 1), (first, 2), (second, 0), (second, 1)):
        monkeypatch.setattr(trainer, "_step", lambda *batch: 0.0)
        trainer.epoch(number)
    orders = [order for _, *order in seen]
    assert orders[3] == orders[2], "the same epoch in all, whichever leg it belongs to"
    assert orders[4] not in orders[:4]
    assert [crop for crop, *_ in seen] == [32, 32, 32, 24, 32], "the plan counts its own epochs"


def _noted_forward(monkeypatch: pytest.MonkeyPatch, note: Callable[[bool], None]) -> None:
    """Call `note(training)` each time that Python computes a network: in a graph, when that is traced."""
    real = module._forward

    def noted(network: Any, images: Any, training: bool) -> Any:
        note(training)
        return real(network, images, training)

    monkeypatch.setattr(module, "_forward", noted)


@pytest.mark.slow
def test_a_trainer_traces_each_graph_once(monkeypatch: pytest.MonkeyPatch, eager: None) -> None:
    """TensorFlow keeps some memory of each graph for as long as the process lives."""
    traced: list[bool] = []
    _noted_forward(monkeypatch, traced.append)
    tf.config.run_functions_eagerly(False)
    train(_trainer(replace(PLAN, epochs=3)), (IMAGES, LABELS))
    tf.config.run_functions_eagerly(True)
    assert traced == [True, False]


@pytest.mark.slow
def test_a_trainer_that_is_let_go_leaves_no_graph_behind(eager: None) -> None:
    """Each would be megabytes for as long as the process lives; 6 and 5 channels take the own normalization."""

    def graphs() -> int:
        gc.collect()
        return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())

    tf.config.run_functions_eagerly(False)
    counts = []
    for _ in range(3):
        network = build(architecture(6, 5, stem_stride=4))
        train(Trainer(network, replace(PLAN, epochs=1), IMAGES, LABELS, seed=0, flip=True), (IMAGES, LABELS))
        counts.append(graphs())
    tf.config.run_functions_eagerly(True)
    assert counts[1] == counts[2], "the first may leave what all of them share"


def test_the_guard_is_around_each_step_and_each_batch_of_a_validation(
    monkeypatch: pytest.MonkeyPatch, eager: None
) -> None:
    events: list[object] = []

    @contextmanager
    def guard() -> Iterator[None]:
        events.append("enter")
        yield
        events.append("leave")

    _noted_forward(monkeypatch, events.append)
    trainer = _trainer(step_guard=guard)
    trainer.epoch(0)
    assert events == ["enter", True, "leave"] * 4, "64 images in batches of 16"
    events.clear()
    trainer.accuracy(np.concatenate([IMAGES] * 8), np.concatenate([LABELS] * 8))
    assert events == ["enter", False, "leave"] * 3, "512 images in batches of 250"
    events.clear()
    accuracy(trainer.network, IMAGES, LABELS)
    assert events == [False], "nothing but the trainer's own work"


@pytest.mark.slow
def test_distillation_alone_follows_the_teacher(eager: None) -> None:
    taught = (LABELS + 1) % 4  # the teacher contradicts the labels
    teacher = 10 * np.eye(10, dtype=np.float32)[taught]
    trainer = _trainer(replace(PLAN, distill_weight=1.0, temperature=2.0), teacher_logits=teacher)
    train(trainer, (IMAGES, LABELS))
    assert accuracy(trainer.network, IMAGES, taught) > 90
    ignored = _trainer(replace(PLAN, distill_weight=0.0), teacher_logits=teacher)
    assert ignored.epoch(0) == pytest.approx(_trainer().epoch(0), rel=1e-4)


def test_a_loss_that_is_no_number_is_the_candidates_fault(eager: None) -> None:
    trainer = _trainer(replace(PLAN, learning_rate=1e30))
    with pytest.raises(CandidateError, match="the training loss became .* lower the learning rate"):
        train(trainer, (IMAGES, LABELS))


def test_logits_are_what_the_softmax_gets(eager: None) -> None:
    network = random_network(SHAPE)
    found = logits(network, IMAGES[:10], batch_size=4)  # the last batch is smaller
    expected = network(IMAGES[:10].astype(np.float32), training=False).numpy()
    np.testing.assert_allclose(tf.nn.softmax(found), expected, atol=1e-5)
