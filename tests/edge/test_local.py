"""The local device: the contract, and what happens when the child misbehaves."""

import dataclasses
import errno
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import psutil
import pytest
from contracts import QUICK, DeviceContract, make_images
from models import float_model, int8_model
from paths import ROOT

from edge.devices import child_process
from edge.devices.local import LocalDevice
from edge.errors import InvalidMeasurementError, ModelError, UnavailableError
from edge.measuring.time_limits import MAX_COOLING_S
from edge.meters.meter import open_meter
from edge.open_device import open_device
from edge.runtime.tflite import INPUT_SHAPE, Operator, check_model, encode_images, operators, read_operators

BLOCKED = ("tensorflow", "tf_keras", "keras", "optuna", "pandas", "typer", "rich", "pydantic")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the test's own, empty again at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    left = {path.name.partition(".")[0] for path in folder.iterdir()}
    assert left <= {f"thrones-{os.getuid()}-training"}  # two empty files, which every measurement locks


class TestLocalDevice(DeviceContract):
    @pytest.fixture
    def device(self):
        with open_device("local:") as device:
            yield device


def put_child(monkeypatch, code):
    """Runs `code` in place of the child; in it, `folder` is the job's folder."""
    head = "import os, pathlib, signal, sys, time; folder = pathlib.Path(sys.argv[1]); "
    monkeypatch.setattr(
        child_process, "child_command", lambda folder: [sys.executable, "-c", head + code, str(folder)]
    )


STARTED = "(folder / 'started').touch(); "


def test_a_crash_is_the_models_fault(monkeypatch):
    put_child(monkeypatch, STARTED + "os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(ModelError, match=r"signal 11, SIGSEGV"):
        LocalDevice().measure(float_model(), QUICK, make_images(2))


def test_a_crash_before_the_model_is_the_rigs_fault(monkeypatch):
    put_child(monkeypatch, "os.kill(os.getpid(), signal.SIGILL)")
    with pytest.raises(UnavailableError, match="signal 4"):
        LocalDevice().predict(float_model(), make_images(2))


def test_being_killed_is_the_rigs_fault(monkeypatch):
    put_child(monkeypatch, STARTED + "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(UnavailableError, match="signal 9"):
        LocalDevice().predict(float_model(), make_images(2))


@pytest.mark.slow
@pytest.mark.parametrize(("head", "kind"), [(STARTED, ModelError), ("", UnavailableError)])
def test_a_hanging_child_is_stopped(monkeypatch, tmp_path, head, kind):
    note = tmp_path / "pid"
    put_child(monkeypatch, f"{head}pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(600)")
    device = LocalDevice(start_allowance_s=2.0)
    with pytest.raises(kind, match="s"):
        device.predict(float_model(), make_images(2))
    assert not psutil.pid_exists(int(note.read_text()))


def test_a_child_that_fails_otherwise_shows_its_last_line(monkeypatch):
    put_child(monkeypatch, "raise SystemExit('no such luck')")
    with pytest.raises(UnavailableError, match="exit code 1.*no such luck"):
        LocalDevice().predict(float_model(), make_images(2))


@pytest.mark.parametrize("text", [None, "", "3", '{"error": "What", "message": "x"}'])
def test_a_child_without_a_result_is_the_rigs_fault(monkeypatch, text):
    put_child(monkeypatch, "0" if text is None else f"(folder / 'result.json').write_text({text!r})")
    with pytest.raises(UnavailableError):
        LocalDevice().measure(float_model(), QUICK, make_images(2))


def test_a_program_that_does_not_exist_is_the_rigs_fault(monkeypatch):
    monkeypatch.setattr(child_process, "child_command", lambda folder: ["/no/such/python", str(folder)])
    with pytest.raises(UnavailableError, match="cannot start"):
        LocalDevice().predict(float_model(), make_images(2))


def test_a_full_disk_is_the_rigs_fault(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(child_process.np, "save", refuse)
    with pytest.raises(UnavailableError, match="is full"):
        LocalDevice().predict(float_model(), make_images(2))


@pytest.mark.slow
def test_the_child_dies_with_its_parent(tmp_path):
    note = tmp_path / "pid"
    # The parent kills itself while the child, which has tied itself to the parent, would wait for ten
    # minutes.
    child = f"""
import json, pathlib, os, sys, time
from edge.devices import measuring_child as child
job = json.loads((pathlib.Path(sys.argv[1]) / "job.json").read_text())
child._die_with_parent(job["parent_pid"])
pathlib.Path({str(note)!r} + ".new").write_text(str(os.getpid()))
os.rename({str(note)!r} + ".new", {str(note)!r})
time.sleep(600)
"""
    parent = f"""
import sys, numpy as np
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests" / "support")!r}]
import models, tempfile
from edge.devices import child_process, local
tempfile.tempdir = {str(tmp_path)!r}
child_process.child_command = lambda folder: [sys.executable, "-c", {child!r}, str(folder)]
local.LocalDevice().predict(models.float_model(), np.zeros((1, 32, 32, 3), np.uint8))
"""
    process = subprocess.Popen([sys.executable, "-c", parent])
    try:
        wait_until(note.exists)
    finally:
        process.kill()
        process.wait()
    pid = int(note.read_text())
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def wait_until(condition, limit_s=60.0):
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.02)


def test_power_comes_from_the_meter():
    with open_meter("estimate://5W") as meter, open_device("local:", meter) as device:
        measurement = device.measure(float_model(), QUICK, make_images(2))
    assert measurement.estimated
    assert measurement.meter == "estimate://5W"
    assert measurement.power_w == measurement.max_power_w == 5.0
    assert measurement.energy_mj == pytest.approx(5.0 * measurement.image_ms)


def test_the_child_starts_from_any_folder(monkeypatch, tmp_path):
    # A module of that name in the working directory must not be taken for ours.
    (tmp_path / "edge.py").write_text("raise SystemExit('the wrong edge')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert LocalDevice().predict(float_model(), make_images(2)).shape == (2,)


# Bytes of the flatbuffer's tables that, changed like this, crash ai-edge-litert 2.3.0 with signal 11.
@pytest.mark.parametrize("position", [3658, 3736, 3986, 4098])
def test_damaged_bytes_never_take_this_process_along(position):
    model = bytearray(int8_model())
    model[position] ^= 0x10 if position % 4 else 0xFF
    try:
        LocalDevice().measure(bytes(model), QUICK, make_images(2))
    except ModelError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("temperatures", "rests"), [([59.0], 0), ([70.0, 65.0, 59.9], 2), ([None], 0)], ids=["cool", "warm", "not told"]
)
def test_a_warm_pi_rests_first(monkeypatch, temperatures, rests):
    device, rested = LocalDevice(), []
    monkeypatch.setattr(device, "_sleep", rested.append)
    now = LocalDevice().environment()
    told = iter([dataclasses.replace(now, temperature_c=each, throttled="0x0") for each in temperatures])
    monkeypatch.setattr(device, "environment", lambda: next(told))
    device._cool_down(dataclasses.replace(QUICK, cool_below_c=60.0))
    assert len(rested) == rests


def test_a_pi_that_stays_hot_is_not_measured(monkeypatch):
    device, rested = LocalDevice(), []
    monkeypatch.setattr(device, "_sleep", rested.append)
    hot = dataclasses.replace(device.environment(), temperature_c=81.2, throttled="0x0")
    monkeypatch.setattr(device, "environment", lambda: hot)
    words = r"81.2 C after 300 s of rest, the limit is 60 C \(1 attempts\); put a fan"
    with pytest.raises(InvalidMeasurementError, match=words):
        device.measure(float_model(), dataclasses.replace(QUICK, cool_below_c=60.0, attempts=1), make_images(2))
    assert sum(rested) == MAX_COOLING_S


def test_throttling_that_is_over_when_the_windows_are_is_seen_too(monkeypatch, tmp_path):
    # The firmware's word of a Pi: nothing before, and later that it has been throttled meanwhile.
    command = tmp_path / "vcgencmd"
    asked = tmp_path / "asked"
    command.write_text(f"#!/bin/sh\n[ -e {asked} ] && echo throttled=0x40000 || echo throttled=0x0\ntouch {asked}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    plan = dataclasses.replace(QUICK, attempts=1)
    with pytest.raises(InvalidMeasurementError, match=r"held back while it measured \(throttled\)"):
        LocalDevice().measure(float_model(), plan, make_images(2))
    LocalDevice().measure(float_model(), plan, make_images(2))  # that is history now


def test_encoding_per_dtype():
    images = make_images(3)
    floats = encode_images(images, {"dtype": np.float32, "quantization": (0.0, 0)})
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, images)
    shifted = encode_images(images, {"dtype": np.int8, "quantization": (1.0, -128)})
    np.testing.assert_array_equal(shifted.astype(int), images.astype(int) - 128)
    clipped = encode_images(images, {"dtype": np.uint8, "quantization": (0.5, 10)})
    np.testing.assert_array_equal(clipped, np.clip(images.astype(int) * 2 + 10, 0, 255))
    with pytest.raises(ModelError, match="scale"):
        encode_images(images, {"dtype": np.int8, "quantization": (0.0, 0)})
    with pytest.raises(ModelError, match="bool"):
        encode_images(images, {"dtype": np.bool_, "quantization": (0.0, 0)})


def test_operators_are_those_of_the_graph_not_the_delegate():
    assert operators(int8_model()) == {"CONV_2D": 1, "FULLY_CONNECTED": 1, "QUANTIZE": 2, "SOFTMAX": 1}
    first, second, *_ = read_operators(int8_model())
    assert first == Operator("QUANTIZE", ("uint8",), ("int8",), (1, 32, 32, 3))
    assert second == Operator("CONV_2D", ("int8", "int8", "int32"), ("int8",), (1, 8, 8, 4))


def test_check_model_takes_a_good_one():
    check_model(float_model())
    assert INPUT_SHAPE == (1, 32, 32, 3)


@pytest.mark.slow
def test_edge_imports_without_the_heavy_packages():
    code = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
import edge.open_device, edge.__main__, models
from edge.runtime.tflite import check_model
assert "ai_edge_litert.interpreter" not in sys.modules, "the runtime is to be imported on first use"
check_model(models.float_model())
"""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
