"""Several boards as one device: which one measures, what a sick one costs, and that only equals are mixed."""

import itertools
import tempfile
import threading
import time
from contextlib import ExitStack

import pytest
from contracts import QUICK, DeviceContract
from pools import IMAGES, MODEL, Clock, Failing, gone, measured_on, noting, wait_until

from edge.devices.fake import FakeDevice
from edge.devices.pool import Pool
from edge.errors import InvalidMeasurementError, ModelError, UnavailableError
from edge.measuring.device_queue import exclusive_device


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the test's own: other tests have boards of the same names."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


class TestPool(DeviceContract):
    @pytest.fixture
    def device(self):
        with Pool([FakeDevice("fake://one")]) as device:
            yield device


def test_the_board_that_is_free_measures():
    with Pool([FakeDevice("fake://one"), FakeDevice("fake://two")]) as boards, exclusive_device("fake-one", time.sleep):
        assert measured_on(boards, 3) == ["fake://two"] * 3
        assert boards.jobs() == 0


def test_of_free_boards_the_one_that_has_rested_longest_measures():
    devices = [FakeDevice(f"fake://{name}") for name in ("one", "two", "three")]
    with Pool(devices, clock=itertools.count().__next__) as boards:
        assert measured_on(boards, 4) == ["fake://one", "fake://two", "fake://three", "fake://one"]


def test_of_busy_boards_the_shortest_queue_is_waited_in():
    told = []
    with ExitStack() as one, ExitStack() as two, exclusive_device("fake-one", time.sleep):
        two.enter_context(exclusive_device("fake-two", time.sleep))
        waiter = threading.Thread(target=lambda: FakeDevice("fake://one").measure(MODEL, QUICK, IMAGES))
        waiter.start()
        one.callback(waiter.join)
        devices = [FakeDevice("fake://one"), FakeDevice("fake://two", sleep=lambda _: two.close())]
        wait_until(lambda: devices[0].jobs() == 2)
        with Pool(devices, noting(told)) as boards:
            assert measured_on(boards) == ["fake://two"]
        one.pop_all()
    waiter.join()
    assert told == ["waiting for a device: 1 before it on fake://two"]


def test_a_board_that_is_gone_costs_no_measurement_and_comes_back():
    clock, told = Clock(), []
    with Pool([Failing("fake://one", *gone(3)), FakeDevice("fake://two")], noting(told), clock) as boards:
        for rest_s in (60, 120, 240):
            clock.now_s += 1000
            del told[:]
            assert measured_on(boards) == ["fake://two"]
            assert told[-1] == f"fake://one is left out for {rest_s} s: no route to host"
            clock.now_s += rest_s - 1
            assert measured_on(boards) == ["fake://two"]
        clock.now_s += 1
        assert measured_on(boards, 2) == ["fake://one", "fake://two"]
        assert told[-1] == "fake://one is back"


def test_rests_grow_up_to_a_quarter_of_an_hour_and_begin_anew_after_a_success():
    clock, told = Clock(), []
    failing = Failing("fake://one", *gone(7))
    with Pool([failing, FakeDevice("fake://two")], noting(told), clock) as boards:

        def rests(count):
            for _ in range(count):
                clock.now_s += 1000
                measured_on(boards)
            return [int(line.split(" for ")[1].split(" s")[0]) for line in told if "left out" in line]

        assert rests(7) == [60, 120, 240, 480, 900, 900, 900]
        failing.faults = []
        clock.now_s += 1000
        del told[:]
        assert "fake://one" in measured_on(boards, 2)
        failing.faults = gone()
        assert rests(1) == [60]


def test_two_measurements_in_a_row_that_cannot_be_believed_take_a_board_out():
    clock, told = Clock(), []
    shaky = Failing("fake://one", *[InvalidMeasurementError("the windows spread")] * 4)
    with Pool([shaky, FakeDevice("fake://two")], noting(told), clock) as boards:
        for rest_s in (60, 120):
            for told_so_far in ([], [f"fake://one is left out for {rest_s} s: the windows spread"]):
                with pytest.raises(InvalidMeasurementError, match="^fake://one: the windows spread$"):
                    measured_on(boards)
                assert told == told_so_far
                assert measured_on(boards) == ["fake://two"]  # it has rested longer
            assert measured_on(boards) == ["fake://two"]
            clock.now_s += rest_s
            assert boards.jobs() == 0  # looks at the boards, so that the first one is back
            assert told.pop() == "fake://one is back"
            told.clear()
        assert measured_on(boards) == ["fake://one"]


def test_an_infeasible_model_is_not_the_boards_fault():
    told = []
    with Pool([FakeDevice("fake://one"), FakeDevice("fake://two")], noting(told)) as boards:
        for _ in range(3):
            with pytest.raises(ModelError):
                boards.measure(MODEL[:5000], QUICK, IMAGES)
    assert told == []


def test_with_no_board_left_each_is_named_and_the_next_call_tries_them_again():
    devices = [Failing("fake://one", *gone()), Failing("fake://two", UnavailableError("the disk is full"))]
    with Pool(devices, clock=Clock()) as boards:
        with pytest.raises(UnavailableError) as caught:
            measured_on(boards)
        assert str(caught.value) == "no device left: fake://one: no route to host; fake://two: the disk is full"
        assert [device.asked for device in devices] == [1, 1]
        assert measured_on(boards) == ["fake://one"]  # they answer: a rest would help nobody
