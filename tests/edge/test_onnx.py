"""Other people's models: ONNX beside TFLite, their pixels found, several models in turns."""

import json
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from contracts import QUICK, make_images
from models import float_model
from onnx_models import grey_images, onnx_model

from edge.commands.measure_command import MeasureOptions, measure
from edge.commands.measure_table import as_json, as_table, as_text
from edge.comparison import Entry, Images, compare
from edge.devices import local
from edge.devices.local import LocalDevice
from edge.errors import ModelError, UsageError
from edge.measuring.measurement import DEFINITIONS, Measurement
from edge.meters.meter import open_meter
from edge.runtime import tflite
from edge.runtime.preprocessing import PIXELS, encode, pixel_values
from edge.runtime.tflite import encode_images, open_runner

UINT8, INT64 = 2, 7


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batch", [1, "batch"])
@pytest.mark.parametrize("kind", [1, UINT8])
def test_every_kind_of_input_knows_every_shade(layout, batch, kind):
    images, labels = grey_images(40)
    np.testing.assert_array_equal(tflite.predict(onnx_model("raw", layout, batch, kind), images), labels)


@pytest.mark.parametrize("pixels", PIXELS)
def test_every_kind_of_pixels_knows_every_shade(pixels):
    images, labels = grey_images(40)
    np.testing.assert_array_equal(tflite.predict(onnx_model(pixels), images, pixels=pixels), labels)


def test_pixel_values_by_hand():
    assert pixel_values("raw")[[0, 255]].tolist() == [[0] * 3, [255] * 3]
    assert pixel_values("unit")[[0, 255]].tolist() == [[0] * 3, [1] * 3]
    assert pixel_values("half")[[0, 255]].tolist() == [[-1] * 3, [1] * 3]
    np.testing.assert_allclose(pixel_values("cifar10")[255], [0.5086 / 0.247, 0.5178 / 0.2435, 0.5535 / 0.2616])
    with pytest.raises(UsageError, match="no pixels 'bgr'; there are: raw, unit, half, cifar10"):
        pixel_values("bgr")


def test_planes_come_one_after_the_other():
    images = make_images(300)  # more than are encoded at once
    planes = encode(images, pixel_values("raw"), "NCHW")
    np.testing.assert_array_equal(planes, images.transpose(0, 3, 1, 2))


def test_a_quantized_input_takes_scaled_pixels():
    details = {"dtype": np.int8, "quantization": (1 / 255, -128)}
    images = make_images(3)
    np.testing.assert_array_equal(encode_images(images, details, "unit"), images.astype(int) - 128)


def test_input_and_output_are_copied():
    runner = open_runner(onnx_model(), threads=1)
    images, labels = grey_images(2)
    assert labels[0] != labels[1]
    frames = runner.encode(images, "raw")
    outputs = []
    for position in range(2):
        runner.set_input(frames[position : position + 1])
        runner.invoke()
        outputs.append(runner.get_output())
    assert [int(output.argmax()) for output in outputs] == labels.tolist()


@pytest.mark.slow
def test_the_same_protocol_names_the_runtime():
    import onnxruntime

    model, images = onnx_model(), grey_images(4)[0]
    measurement = LocalDevice().measure(model, QUICK, images)
    assert measurement.environment.runtime == f"onnxruntime {onnxruntime.__version__}"
    assert measurement.environment.delegate is None
    assert len(measurement.windows) >= QUICK.windows
    assert 0 < measurement.memory_growth_mb < measurement.peak_memory_mb
    assert Measurement.from_json(measurement.to_json()) == measurement


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (onnx_model(side=28), "(1, 3, 28, 28)"),
        (onnx_model(layout="NHWC", batch=8), "(8, 32, 32, 3)"),
        (onnx_model(classes=9), "(1, 9)"),
        (onnx_model(kind=INT64), "takes tensor(int64)"),
        (onnx_model()[:300], "300 bytes are cut off or damaged"),
        (b"\x08\x08" * 20, "no graph"),
        (b"\x08" + b"\xff" * 20, "cut off or damaged"),
        (b"\x08\x08\x0b" + bytes(20), "cut off or damaged"),
        (onnx_model().replace(b"Flatten", b"Flutter"), "Flutter"),
        (onnx_model(grow_to=1 << 20), "% of this device's free memory"),
    ],
    ids=["side", "batch", "classes", "kind of input", "cut", "no graph", "varint", "kind", "operator", "memory"],
)
def test_a_bad_onnx_is_infeasible(model, words):
    with pytest.raises(ModelError) as caught:
        LocalDevice().measure(model, QUICK, make_images(2))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_uint8_takes_raw_pixels_alone():
    with pytest.raises(ModelError, match="takes raw pixels, got pixels 'unit'"):
        LocalDevice().predict(onnx_model(kind=UINT8), make_images(2), "unit")


def test_without_onnxruntime_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"pip install 'thrones\[onnx\]'"):
        tflite.predict(onnx_model(), make_images(1))


def test_a_child_may_not_have_all_memory():
    code = """
import pathlib
from edge.devices import measuring_child as child
child._limit_memory()
free = child._memory_mb("MemAvailable", pathlib.Path("/proc/meminfo"))
try:
    bytearray(int(0.97e6 * free))  # zeros that are never touched: harmless where the limit does not hold
except MemoryError:
    print("refused", pathlib.Path("/proc/self/oom_score_adj").read_text())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "1000"]


class Turns(local.LocalDevice):
    """Notes what it is asked to measure; nothing is timed twice."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.known = {}

    def measure(self, model, plan, images, pixels="raw"):
        self.asked.append((model, pixels))
        if model not in self.known:
            self.known[model] = super().measure(model, plan, images, pixels)
        return self.known[model]

    def predict(self, model, images, pixels="raw"):
        return tflite.predict(model, images, pixels=pixels)


@pytest.mark.slow
def test_models_are_measured_in_turns_each_with_its_own_pixels():
    ours, theirs = onnx_model(), onnx_model("cifar10", "NHWC", kind=1)
    images = Images(*grey_images(30), training=grey_images(60, seed=1))
    device = Turns()
    first, second = compare(device, [("ours", ours), ("theirs", theirs)], QUICK, images, rounds=3)
    assert device.asked == [(ours, "raw"), (theirs, "cifar10")] * 3
    assert (first.accuracy_percent, second.accuracy_percent) == (100, 100)
    assert list(second.tried) == list(PIXELS)
    assert max(second.tried.values()) == second.tried["cifar10"] == 100
    assert len(second.rounds) == 3


def test_pixels_that_a_model_does_not_take_are_not_tried():
    images = Images(*grey_images(5), training=grey_images(20, seed=1))
    (entry,) = compare(Turns(), [("bytes", onnx_model(kind=UINT8))], QUICK, images)
    assert entry.tried == {"raw": 100}


@pytest.mark.slow
def test_without_training_images_raw_is_assumed_and_told():
    device = Turns()
    (entry,) = compare(device, [("theirs", onnx_model("unit"))], QUICK, Images(*grey_images(5)))
    assert (entry.pixels, entry.assumed) == ("raw", True)
    assert "pixels   raw, assumed: no training images" in as_text(entry)
    (entry,) = compare(device, [("theirs", onnx_model("unit"))], QUICK, Images(*grey_images(5)), pixels="unit")
    assert (entry.accuracy_percent, entry.assumed) == (100, False)
    assert "pixels   unit" in as_text(entry)


def test_a_model_that_cannot_run_is_told_before_anything_is_measured():
    device = Turns()
    models = [("good.tflite", float_model()), ("bad.onnx", onnx_model(side=28))]
    with pytest.raises(ModelError, match=r"^bad\.onnx: model input is \(1, 3, 28, 28\)"):
        compare(device, models, QUICK, Images(make_images(2)))
    assert device.asked == []


@pytest.fixture(scope="module")
def entries():
    """One TFLite and three ONNX models of two rounds, with an assumed power."""
    theirs = [("b.onnx", onnx_model()), ("c.onnx", onnx_model("unit")), ("d.onnx", onnx_model())]
    images = Images(*grey_images(5))
    with open_meter("estimate://4.8W") as meter:
        device = Turns()
        device._meter = meter
        return compare(device, [("a.tflite", float_model()), *theirs], QUICK, images, rounds=2)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "heads"), [(80, ["A B B/A C C/A", "A D D/A"]), (120, ["A B B/A C C/A D D/A"])])
def test_the_comparison_fits_the_terminal(entries, width, heads):
    lines = as_table(entries, width).splitlines()
    assert max(map(len, lines)) <= width
    assert [" ".join(line.split()) for line in lines if line.endswith("/A")] == heads
    text = "\n".join(lines)
    assert all(f"\n{name}: " in text for name in ("accuracy_percent", "fom", "latency_ms", "energy_mj", "model_bytes"))
    assert "energy_mj, est." in text
    assert "est.: from an assumed power, not measured." in text
    assert "idle_power_w" not in text


def test_ratios_are_over_the_first(entries):
    latency = [entry.figure("latency_ms") for entry in entries]
    (row,) = [line.split() for line in as_table(entries, 200).splitlines() if line.startswith("latency_ms ")]
    assert row[3::2] == [f"{latency[i] / latency[0]:.3g}" for i in (1, 2, 3)]


def test_json_keeps_every_window_of_every_round(entries):
    found = json.loads(as_json(entries))
    assert [model["model"] for model in found["models"]] == ["a.tflite", "b.onnx", "c.onnx", "d.onnx"]
    for model, entry in zip(found["models"], entries, strict=True):
        kept = [Measurement.from_json(json.dumps(each)) for each in model["measurements"]]
        assert kept == list(entry.rounds)
        assert model["ratios"]["latency_ms"] == entry.figure("latency_ms") / entries[0].figure("latency_ms")


@pytest.mark.slow
def test_the_median_over_rounds():
    quick = LocalDevice().measure(onnx_model(), QUICK, make_images(2))
    slow = replace(quick, windows=tuple(replace(each, invoke_s=3 * each.invoke_s) for each in quick.windows))
    both = Entry("a", "raw", (quick, slow))
    assert both.figure("latency_ms") == pytest.approx(2 * quick.latency_ms)
    assert both.figure("model_bytes") == quick.model_bytes
    assert both.figure("energy_mj") is None
    assert both.fom is None


@pytest.mark.slow
def test_a_model_measured_once_is_printed_as_ever(tmp_path: Path, monkeypatch):
    path = tmp_path / "model.tflite"
    path.write_bytes(float_model())
    monkeypatch.setattr("edge.commands.measure_command.open_test_bench", lambda device, meter: nullcontext(Turns()))
    monkeypatch.setattr("edge.commands.measure_command.plan_for", lambda name, least: QUICK)
    text = measure(MeasureOptions((path,)), Images(make_images(2)))
    assert text.startswith("model    ")
    assert "pixels" not in text
    assert all(sentence in text for sentence in DEFINITIONS.values())
