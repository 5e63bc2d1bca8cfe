"""Only devices of one kind make a pool, and their calibration says how they differ."""

import dataclasses
import tempfile

import pytest
from contracts import QUICK
from pools import IMAGES, MODEL, Clock, Failing, gone, measured_on, noting

from edge.devices.fake import FakeDevice
from edge.devices.local import LocalDevice
from edge.devices.pool import Pool, calibrate
from edge.errors import UsageError
from edge.measuring.environment import kind_of
from edge.open_device import ON_DEVICE, open_device, open_test_bench


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the test's own: other tests have boards of the same names."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))



KIND = (
    "fake://two is a device of another kind: {}, fake://one has {}; "
    "measurements of different kinds must not be mixed"
)


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
    assert str(caught.value).endswith("set it the same, or leave the device out")


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
    with Pool([sick, FakeDevice("fake://two")], noting(told), clock) as boards:
        assert measured_on(boards) == ["fake://two"]
        sick.now = dataclasses.replace(sick.environment(), governor="ondemand")
        clock.now_s += 60
        assert measured_on(boards) == ["fake://two"]
        assert "fake://one is left out for 120 s: fake://one is a device of another kind" in told[-1]
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
        (["fake://one", "fake://two"], "rapl://", "rapl:// is connected to one of the 2 devices; use device:"),
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
