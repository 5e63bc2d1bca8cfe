"""What every device must do, wherever it stands. A subclass named Test... gives the fixture `device`."""

import hashlib
import time

import numpy as np
import pytest
from models import float_model, int8_model

from edge.errors import ModelError, UsageError
from edge.measuring.measurement import Measurement
from edge.measuring.plan import MeasurePlan
from edge.runtime.tflite import predict

# Short on purpose: the contract is about what comes back, not about good figures. So any spread is accepted.
QUICK = MeasurePlan("quick", warmup_s=0.0, windows=3, window_s=0.005, max_spread=1e6)


def make_images(count: int, seed: int = 0) -> np.ndarray:
    """Random uint8 (count, 32, 32, 3) of different brightness, so that the labels differ."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return noise // rng.integers(1, 9, (count, 1, 1, 3), dtype=np.uint8)


class DeviceContract:
    """The tests that a local, a remote and a fake device have in common."""

    def test_measures_at_least_the_planned_windows(self, device):
        model = float_model()
        measurement = device.measure(model, QUICK, make_images(7))
        assert len(measurement.windows) >= QUICK.windows
        assert all(window.length_s >= QUICK.window_s for window in measurement.windows)
        assert measurement.sha256 == hashlib.sha256(model).hexdigest()
        assert measurement.model_bytes == len(model)
        assert measurement.plan == QUICK
        assert measurement.device == device.url
        assert 0 < measurement.latency_ms <= measurement.image_ms
        assert 0 <= measurement.memory_growth_mb < measurement.peak_memory_mb

    def test_makes_the_planned_passes(self, device):
        plan = MeasurePlan("passes", warmup_s=0.0, windows=1, window_s=0.001, passes=3, max_spread=1e6)
        images = make_images(1000)
        measurement = device.measure(int8_model(), plan, images)
        assert sum(window.images for window in measurement.windows) >= 3 * len(images)

    def test_measures_several_models_in_turns(self, device):
        """Windows of the same number lie side by side, so that a disturbance hits both."""
        models = [float_model(), int8_model()]
        found = device.measure_in_turns(models, QUICK, make_images(5))
        assert [each.sha256 for each in found] == [hashlib.sha256(model).hexdigest() for model in models]
        assert len(found[0].windows) == len(found[1].windows) >= QUICK.windows
        assert all(0 <= each.memory_growth_mb < each.peak_memory_mb for each in found)
        assert found == [Measurement.from_json(each.to_json()) for each in found]

    def test_says_when_it_was_taken_and_on_which_processor(self, device):
        before_s = time.time()
        measurement = device.measure(int8_model(), QUICK, make_images(3))
        assert before_s - 1 < measurement.taken_at_s < time.time() + 1
        assert measurement.environment == device.environment() or measurement.environment.processor

    def test_a_measurement_survives_json(self, device):
        measurement = device.measure(int8_model(), QUICK, make_images(3))
        assert Measurement.from_json(measurement.to_json()) == measurement

    @pytest.mark.parametrize("model", [float_model(), int8_model()], ids=["float32", "int8"])
    def test_predicts_what_this_process_predicts(self, device, model):
        images = make_images(200)
        labels = device.predict(model, images)
        assert labels.dtype == np.int64
        assert len(set(labels.tolist())) > 1
        np.testing.assert_array_equal(labels, predict(model, images))

    @pytest.mark.parametrize(
        ("model", "words"),
        [
            (b"", "0 bytes"),
            (b"not a model at all, but text", "TFL3"),
            (float_model()[:5000], "cannot be loaded"),
            (float_model(side=28), "(1, 28, 28, 3)"),
        ],
        ids=["empty", "text", "truncated", "wrong shape"],
    )
    def test_a_bad_model_is_infeasible(self, device, model, words):
        for call in (
            lambda: device.measure(model, QUICK, make_images(2)),
            lambda: device.measure_in_turns([int8_model(), model], QUICK, make_images(2)),
            lambda: device.predict(model, make_images(2)),
        ):
            with pytest.raises(ModelError) as caught:
                call()
            assert words in str(caught.value)
            assert "\n" not in str(caught.value)

    def test_other_images_are_refused(self, device):
        for images in (
            np.zeros((0, 32, 32, 3), np.uint8),
            np.zeros((2, 28, 28, 1), np.uint8),
            np.zeros((2, 32, 32, 3)),
        ):
            with pytest.raises(UsageError, match="uint8"):
                device.predict(float_model(), images)

    def test_environment_names_the_runtime(self, device):
        assert device.environment().runtime.startswith("ai-edge-litert")

    def test_close_twice(self, device):
        device.close()
        device.close()
