"""Several boards as one device: which one measures, what a sick one costs, and that only equals are mixed."""

import dataclasses
import itertools
import tempfile
import threading
import time
from contextlib import ExitStack

import pytest
from agents import agent
from contracts import QUICK, DeviceContract, make_images
from models import float_model

from edge.devices.fake import FakeDevice
from edge.devices.local import LocalDevice
from edge.devices.measuring_queue import turn
from edge.devices.pool import Pool, calibrate
from edge.errors import InvalidMeasurementError, ModelError, UnavailableError, UsageError
from edge.measuring.environment import kind_of
from edge.measuring.plan import MeasurePlan
from edge.open import ON_DEVICE, open_device, open_test_bench
from edge.remote.client import RemoteDevice
from edge.remote.connect import connector

LONG = MeasurePlan("long", warmup_s=0.0, windows=3, window_s=1.0, max_spread=1e6)
MODEL, IMAGES = float_model(), make_images(2)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the test's own: other tests have boards of the same names."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


class TestPool(DeviceContract):
    @pytest.fixture
    def device(self):
        with Pool([FakeDevice("fake://one")]) as device:
            yield device


class Clock:
    """Stands still until somebody moves it."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


class Failing(FakeDevice):
    """Raises the first of `faults`, once each, in place of a measurement."""

    def __init__(self, url, *faults):
        super().__init__(url)
        self.faults, self.asked, self.now = list(faults), 0, super().environment()

    def environment(self):
        return self.now

    def measure(self, *arguments):
        self.asked += 1
        if self.faults:
            raise self.faults.pop(0)
        return super().measure(*arguments)


def wait_until(condition, limit_s=60.0):
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.02)


def gone(count=1):
    return [UnavailableError("no route to host")] * count


def measured_on(boards, times=1):
    return [boards.measure(MODEL, QUICK, IMAGES).device for _ in range(times)]


def test_the_board_that_is_free_measures():
    with Pool([FakeDevice("fake://one"), FakeDevice("fake://two")]) as boards, turn("fake-one", time.sleep):
        assert measured_on(boards, 3) == ["fake://two"] * 3
        assert boards.jobs() == 0


def test_of_free_boards_the_one_that_has_rested_longest_measures():
    devices = [FakeDevice(f"fake://{name}") for name in ("one", "two", "three")]
    with Pool(devices, clock=itertools.count().__next__) as boards:
        assert measured_on(boards, 4) == ["fake://one", "fake://two", "fake://three", "fake://one"]


def test_of_busy_boards_the_shortest_queue_is_waited_in():
    told = []
    with ExitStack() as one, ExitStack() as two, turn("fake-one", time.sleep):
        two.enter_context(turn("fake-two", time.sleep))
        waiter = threading.Thread(target=lambda: FakeDevice("fake://one").measure(MODEL, QUICK, IMAGES))
        waiter.start()
        one.callback(waiter.join)
        devices = [FakeDevice("fake://one"), FakeDevice("fake://two", sleep=lambda _: two.close())]
        wait_until(lambda: devices[0].jobs() == 2)
        with Pool(devices, told.append) as boards:
            assert measured_on(boards) == ["fake://two"]
        one.pop_all()
    waiter.join()
    assert told == ["waiting for a board: 1 before it on fake://two"]


def test_a_board_that_is_gone_costs_no_measurement_and_comes_back():
    clock, told = Clock(), []
    with Pool([Failing("fake://one", *gone(3)), FakeDevice("fake://two")], told.append, clock) as boards:
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
    with Pool([failing, FakeDevice("fake://two")], told.append, clock) as boards:

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
    with Pool([shaky, FakeDevice("fake://two")], told.append, clock) as boards:
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
    with Pool([FakeDevice("fake://one"), FakeDevice("fake://two")], told.append) as boards:
        for _ in range(3):
            with pytest.raises(ModelError):
                boards.measure(MODEL[:5000], QUICK, IMAGES)
    assert told == []


def test_with_no_board_left_each_is_named_and_the_next_call_tries_them_again():
    devices = [Failing("fake://one", *gone()), Failing("fake://two", UnavailableError("the disk is full"))]
    with Pool(devices, clock=Clock()) as boards:
        with pytest.raises(UnavailableError) as caught:
            measured_on(boards)
        assert str(caught.value) == "no board left: fake://one: no route to host; fake://two: the disk is full"
        assert [device.asked for device in devices] == [1, 1]
        assert measured_on(boards) == ["fake://one"]  # they answer: a rest would help nobody


KIND = "fake://two is a board of another kind: {}, fake://one has {}; measurements of different kinds must not be mixed"


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        ("", "governor=ondemand", ("governor 'ondemand'", "'performance'")),
        ("", "cpu=Cortex-A72", ("cpu 'Cortex-A72'", "'fake board'")),
        ("", "clock_mhz=1200", ("clock_mhz 1200.0", "1400.0")),
    ],
)
def test_boards_of_different_kinds_are_refused(one, two, words):
    urls = [f"fake://one?{one}".rstrip("?"), f"fake://two?{two}"]
    with pytest.raises(UsageError) as caught:
        with open_test_bench(urls, "estimate://4.8W"):
            pass
    assert str(caught.value).replace(f"?{two}", "").startswith(KIND.format(*words))
    assert str(caught.value).endswith("set it the same, or leave the board out")


def test_clocks_may_differ_a_little_and_where_they_follow_the_load():
    for urls in (
        ["fake://one?clock_mhz=1400", "fake://two?clock_mhz=1375"],
        ["fake://one?governor=ondemand&clock_mhz=600", "fake://two?governor=ondemand&clock_mhz=1400"],
    ):
        with open_test_bench(urls, "estimate://4.8W") as boards:
            assert boards.url == ", ".join(urls)


def test_a_board_that_comes_back_as_another_kind_stays_out():
    clock, told = Clock(), []
    sick = Failing("fake://one", *gone())
    with Pool([sick, FakeDevice("fake://two")], told.append, clock) as boards:
        assert measured_on(boards) == ["fake://two"]
        sick.now = dataclasses.replace(sick.environment(), governor="ondemand")
        clock.now_s += 60
        assert measured_on(boards) == ["fake://two"]
        assert "fake://one is left out for 120 s: fake://one is a board of another kind" in told[-1]
        assert boards.environment().host == "fake board two"


def test_calibration_tells_every_boards_latency_and_refuses_a_slow_one():
    with open_test_bench(["fake://one", "fake://two?slower=1.04"], ON_DEVICE) as boards:
        found = calibrate(boards, MODEL, QUICK, IMAGES)
        assert found["fake://two?slower=1.04"] == pytest.approx(1.04 * found["fake://one"])
        with pytest.raises(UsageError, match=r"4.0% more, the limit is 3%; give them the same system"):
            calibrate(boards, MODEL, QUICK, IMAGES, limit=0.03)


class Metered(FakeDevice):
    """As if an instrument had given the power."""

    def measure(self, *arguments):
        return dataclasses.replace(super().measure(*arguments), estimated=False)


def test_calibration_refuses_measured_power_beside_assumed():
    with Pool([Metered("fake://one"), FakeDevice("fake://two")]) as boards:
        with pytest.raises(UsageError, match="measured and assumed power must not be mixed"):
            calibrate(boards, MODEL, QUICK, IMAGES)


def test_one_url_is_the_device_itself():
    for urls in ("fake://one", ["fake://one"]):
        with open_test_bench(urls, "estimate://3W") as device:
            assert isinstance(device, FakeDevice)


def test_an_assumed_power_serves_all_boards():
    with open_test_bench(["fake://one", "fake://two"], "estimate://3W") as boards:
        assert [each.power_w for each in boards.measure_on_each(MODEL, QUICK, IMAGES)] == [3.0, 3.0]


@pytest.mark.parametrize(
    ("urls", "meter", "words"),
    [
        ([], ON_DEVICE, "no device is named"),
        (["fake://one", "fake://one"], ON_DEVICE, "fake://one is named twice"),
        (["fake://one", "fake://two"], "rapl://", "rapl:// hangs on one of the 2 boards; use device:"),
        (["fake://one", "fake:"], ON_DEVICE, "no device 'fake:'"),
    ],
)
def test_what_makes_no_pool(urls, meter, words):
    with pytest.raises(UsageError) as caught:
        with open_test_bench(urls, meter):
            pass
    assert words in str(caught.value)


def test_the_kind_of_a_device_goes_without_its_name_but_for_this_host():
    one, two = open_device("fake://one"), open_device("fake://two")
    kind = kind_of(one.environment(), one.url)
    assert kind == kind_of(two.environment(), two.url)
    assert list(kind.values())[:4] == ["fake board", "fake", 4, "performance"]
    here = LocalDevice().environment()
    assert kind_of(here, "local:") == {**kind_of(here, "ssh://pi@pi1"), "host": here.host}


@pytest.fixture
def agents(tmp_path, monkeypatch):
    """Two agents that take this host for one machine each, as two boards are: their turns are of folders apart."""
    with ExitStack() as stack:
        running = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            monkeypatch.setenv("TMPDIR", str(tmp_path / name))
            running.append(stack.enter_context(agent(tmp_path / name)))
        yield running


def test_a_board_killed_while_it_measures_costs_only_time_and_comes_back(agents):
    dead, other = agents
    clock, told = Clock(), []
    devices = [RemoteDevice(each.url, connector(each.url), retry_s=0.3) for each in agents]

    def kill():
        with open_device(dead.url) as beside:
            wait_until(beside.jobs)
        dead.kill()

    with Pool(devices, told.append, clock) as boards:
        killer = threading.Thread(target=kill)
        killer.start()
        assert boards.measure(MODEL, LONG, IMAGES).device == other.url
        killer.join()
        assert told[0].startswith(f"{dead.url} is left out for 60 s: {dead.url} does not answer")
        dead.start()
        assert measured_on(boards) == [other.url]
        clock.now_s += 60
        assert measured_on(boards) == [dead.url]


def test_a_board_that_never_answers_is_left_out(agents):
    dead, other = agents
    dead.kill()
    told = []
    devices = [RemoteDevice(each.url, connector(each.url), first_contact_s=0.3) for each in agents]
    with Pool(devices, told.append) as boards:
        assert measured_on(boards) == [other.url]
    assert told[0].startswith(f"{dead.url} is left out for 60 s: {dead.url} does not answer")
    other.kill()
    with pytest.raises(UnavailableError, match=f"no board left: {dead.url}: .*; {other.url}: "):
        with Pool([RemoteDevice(each.url, connector(each.url), first_contact_s=0.3) for each in agents]):
            pass


def test_two_clients_share_two_boards(agents):
    found = []

    def measure():
        with open_test_bench([each.url for each in agents], ON_DEVICE) as boards:
            found.append(boards.measure(MODEL, LONG, IMAGES))

    clients = [threading.Thread(target=measure) for _ in range(2)]
    with open_device(agents[0].url) as first:
        clients[0].start()
        wait_until(first.jobs)
    clients[1].start()
    for client in clients:
        client.join()
    assert {each.device for each in found} == {each.url for each in agents}
    one, two = found
    assert one.windows[0].start_s < two.windows[-1].end_s and two.windows[0].start_s < one.windows[-1].end_s
