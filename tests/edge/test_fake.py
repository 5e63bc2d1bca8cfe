"""A board that nobody owns: the contract, what its URL says, what it makes up; and the turns of a host's processes."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pytest
from contracts import QUICK, DeviceContract, make_images
from models import float_model, int8_model
from paths import ROOT

from edge.devices.fake import FakeDevice
from edge.devices.local import LocalDevice
from edge.errors import UnavailableError, UsageError
from edge.measuring.device_queue import count_jobs, exclusive_device
from edge.meters.meter import open_meter
from edge.open_device import open_device
from edge.runtime.tflite import predict


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the test's own, empty again at the end: no turn leaves anything behind."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert [path for path in folder.iterdir() if "-training." not in path.name] == []  # those are two empty files


class TestFake(DeviceContract):
    @pytest.fixture
    def device(self):
        with open_device("fake://one") as device:
            yield device


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("fake://", "needs a name"),
        ("fake://../x", "needs a name"),
        ("fake://a?second=1", "unknown parameter 'second'; there are: seconds, slower, cpu, governor, clock_mhz"),
        ("fake://a?seconds=soon", "seconds must be a number, got 'soon'"),
        ("fake://a?seconds=-1", "seconds must be >= 0 and finite, got -1.0"),
        ("fake://a?slower=0", "slower must be > 0 and finite, got 0.0"),
        ("fake://a?slower=nan", "slower must be > 0"),
        ("fake://a?cpu=", "cpu and governor must not be empty"),
    ],
)
def test_a_bad_url_tells_what_is_wrong(url, words):
    with pytest.raises(UsageError) as caught:
        open_device(url)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_url_describes_the_board():
    found = open_device("fake://one?cpu=Cortex-A53%20x4&governor=ondemand&clock_mhz=600").environment()
    assert (found.cpu, found.governor, found.clock_mhz) == ("Cortex-A53 x4", "ondemand", 600.0)
    assert (found.host, found.machine, found.os) == ("fake board one", "fake", "none: a fake board")
    assert open_device("fake://one").environment().cpu == "fake board"


def test_equal_models_get_equal_figures_and_others_of_their_size():
    one, other = (open_device(url).measure(int8_model(), QUICK, make_images(2)) for url in ("fake://a", "fake://b"))
    slower = open_device("fake://a?slower=1.5").measure(int8_model(), QUICK, make_images(2))
    larger = open_device("fake://a").measure(float_model(), QUICK, make_images(2))
    assert one.latency_ms == other.latency_ms
    assert slower.latency_ms == pytest.approx(1.5 * one.latency_ms)
    assert larger.latency_ms / one.latency_ms == pytest.approx(len(float_model()) / len(int8_model()))


def test_power_is_an_estimate():
    own = open_device("fake://a").measure(float_model(), QUICK, make_images(2))
    told = open_device("fake://a", open_meter("estimate://3W")).measure(float_model(), QUICK, make_images(2))
    assert (own.power_w, own.estimated) == (5.0, True)
    assert (told.power_w, told.meter, told.estimated) == (3.0, "estimate://3W", True)
    with pytest.raises(UsageError, match="draws no power that rapl:// could measure"):
        open_device("fake://a", open_meter("rapl://"))


def test_it_is_busy_for_as_long_as_it_is_told():
    slept = []
    busy = FakeDevice("fake://a?seconds=20", clock=lambda: 7.0, sleep=slept.append)
    measurement = busy.measure(float_model(), QUICK, make_images(2))
    assert slept == [20.0]
    assert measurement.windows[0].start_s == 7.0


def test_a_measurement_costs_next_to_nothing():
    device, model, images = open_device("fake://a"), int8_model(), make_images(100)
    device.measure(model, QUICK, images)  # checks the model
    start_s = time.process_time()
    for _ in range(100):
        device.measure(model, QUICK, images)
    assert time.process_time() - start_s < 0.5  # 0.1 s on an idle machine


def test_other_pixels_are_refused():
    for call in (
        lambda: open_device("fake://a").measure(float_model(), QUICK, make_images(2), "red"),
        lambda: open_device("fake://a").predict(float_model(), make_images(2), "red"),
    ):
        with pytest.raises(UsageError, match="no pixels 'red'"):
            call()


def test_a_board_serves_one_at_a_time_in_the_order_of_coming():
    entered, ended, waiting = threading.Event(), [], {name: threading.Event() for name in "bc"}
    release = threading.Event()

    def first(_):
        entered.set()
        assert release.wait(60)

    def measure(name, sleep):
        measured = FakeDevice("fake://one?seconds=1", sleep=sleep).measure(float_model(), QUICK, make_images(2))
        ended.append((measured.windows[0].start_s, name))

    def wait(name):
        def sleep(seconds):
            waiting[name].set()
            release.wait(seconds)

        return sleep

    threads = [threading.Thread(target=measure, args=("a", first))]
    threads[0].start()
    assert entered.wait(60)
    for name, event in waiting.items():
        threads.append(threading.Thread(target=measure, args=(name, wait(name))))
        threads[-1].start()
        assert event.wait(60)
    assert open_device("fake://one").jobs() == 3
    assert open_device("fake://two").jobs() == 0
    assert ended == []
    release.set()
    for thread in threads:
        thread.join()
    assert [name for _, name in sorted(ended)] == ["a", "b", "c"]
    assert open_device("fake://one").jobs() == 0


def test_who_is_killed_is_out_of_the_queue():
    code = (
        "import sys, tempfile, time; tempfile.tempdir = sys.argv[1]\n"
        "from edge.measuring.device_queue import exclusive_device\n"
        "with exclusive_device('x', time.sleep):\n    print('mine', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tempfile.gettempdir()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout.readline() == "mine\n"
    assert count_jobs("x") == 1
    rested = []

    def kill(seconds):
        rested.append(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()

    with exclusive_device("x", kill):
        assert count_jobs("x") == 1
    assert len(rested) == 1
    process.stdin.close()
    process.stdout.close()


def test_who_gives_up_waiting_is_out_of_the_queue():
    def give_up(_):
        raise UnavailableError("cancelled")

    with exclusive_device("x", time.sleep):
        with pytest.raises(UnavailableError, match="cancelled"):
            with exclusive_device("x", give_up):
                pass
        assert count_jobs("x") == 1


def test_the_queue_goes_while_another_comes(monkeypatch):
    make, made = os.mkdir, []

    def too_late(path, mode=0o777):
        """The last one in the queue removes its folder just after another has found it there."""
        made.append(path)
        if len(made) == 1:
            raise FileExistsError(17, "File exists", str(path))
        make(path, mode)

    monkeypatch.setattr(os, "mkdir", too_late)
    with exclusive_device("gone", time.sleep):
        assert len(made) > 1


def test_a_temporary_folder_that_cannot_be_used_is_the_rigs_fault(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(UnavailableError, match="cannot be used .*; free space or set TMPDIR"):
        open_device("fake://a").measure(float_model(), QUICK, make_images(2))
    monkeypatch.undo()


def test_two_that_measure_on_this_host_take_turns():
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(LocalDevice().measure(float_model(), QUICK, make_images(2))))
        for _ in range(2)
    ]
    with exclusive_device("local", time.sleep):
        for thread in threads:
            thread.start()
        end_s = time.monotonic() + 60
        while LocalDevice().jobs() < 3:
            assert time.monotonic() < end_s, "waited in vain"
            time.sleep(0.02)
        assert found == []
        released_s = time.monotonic()
    for thread in threads:
        thread.join()
    first, second = sorted(found, key=lambda measurement: measurement.windows[0].start_s)
    assert released_s < first.windows[0].start_s
    assert first.windows[-1].end_s < second.windows[0].start_s


def test_labels_are_real():
    images = make_images(50)
    labels = open_device("fake://a?slower=3").predict(int8_model(), images)
    np.testing.assert_array_equal(labels, predict(int8_model(), images))
