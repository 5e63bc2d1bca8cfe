"""The ways in which a Smart Power can fail, and how its port is opened and found."""

import time
from types import SimpleNamespace

import pytest
from supplies import WATTS, SimulatedSupply, fault_of, meter_of, power_now, until

from edge.errors import InvalidMeasurementError, UnavailableError, UsageError
from edge.meters.meter import open_meter
from edge.meters.ports import find_serial, open_serial
from edge.meters.simulator.links import PtyLink, TcpLink
from edge.meters.simulator.supply import Faults


@pytest.fixture
def pty():
    with SimulatedSupply(PtyLink()) as supply:
        yield supply


@pytest.fixture
def tcp():
    with SimulatedSupply(TcpLink("127.0.0.1", 0)) as supply:
        yield supply


def test_an_output_that_is_off_is_silent_on_the_serial_line(pty):
    pty.tell("off")
    time.sleep(0.05)
    with pytest.raises(UnavailableError) as caught, meter_of(pty, first_reading_s=0.2):
        pass
    assert str(caught.value) == f"no reading for 0.2 s from {pty.link.url}; is the supply's output on?"


def test_an_output_that_is_off_sends_zeros_over_tcp(tcp):
    with meter_of(tcp) as meter:
        tcp.tell("off")
        until(lambda: "reads 0.000 V and 0 W" in fault_of(meter))
    with pytest.raises(UnavailableError, match="switch the supply's output on"), meter_of(tcp):
        pass


def test_silence_is_unavailable_and_ends(pty):
    with meter_of(pty, silence_s=0.2) as meter:
        pty.tell("silence 1")
        until(lambda: "no reading for 0." in fault_of(meter))
        until(lambda: not fault_of(meter))
        assert power_now(meter).mean_w == pytest.approx(WATTS, rel=0.02)


def test_a_pause_in_the_window_is_a_gap(pty):
    with meter_of(pty) as meter:
        start_s = time.monotonic()
        time.sleep(0.7)  # what comes earlier speaks of the time before the window too
        pty.tell("silence 0.2")
        time.sleep(0.3)
        with pytest.raises(InvalidMeasurementError, match=r"gappy readings: none for 0\.\d+ s .* limit is 0\.0"):
            meter.power(start_s, time.monotonic())


def test_a_reset_and_garbage_are_survived():
    with SimulatedSupply(PtyLink(), boot_s=1.0) as rig, meter_of(rig, silence_s=0.2) as meter:
        rig.tell("reset")
        until(lambda: "bytes of something else" in fault_of(meter))
        until(lambda: not fault_of(meter))
        rig.tell("garbage")
        assert power_now(meter).mean_w == pytest.approx(WATTS, rel=0.02)


def test_failed_sensor_reads_are_counted():
    with SimulatedSupply(PtyLink(), faults=Faults(0.0, failed=0.5)) as rig, meter_of(rig) as meter:
        start_s = time.monotonic()
        time.sleep(0.8)
        with pytest.raises(InvalidMeasurementError, match=r"\d+ of \d+ readings from .* are implausible"):
            meter.power(start_s, time.monotonic())


def test_only_failed_sensor_reads_are_told_from_silence():
    with SimulatedSupply(PtyLink(), faults=Faults(failed=1.0)) as supply:
        with pytest.raises(UnavailableError, match="but implausible ones"), meter_of(supply, first_reading_s=0.2):
            pass


def test_the_faults_of_a_bad_line_change_nothing():
    faults = Faults(0.003, lost=0.01, joined=0.05, cut=0.1, debug=0.01)
    with SimulatedSupply(PtyLink(), faults=faults) as rig, meter_of(rig) as meter:
        assert power_now(meter).mean_w == pytest.approx(WATTS, rel=0.02)


def test_an_unplugged_meter_gives_its_first_reason_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.meters.smartpower._FIRST_PAUSE_S", 0.02)
    with SimulatedSupply(PtyLink(tmp_path / "meter")) as rig, meter_of(rig) as meter:
        rig.tell("unplug")
        until(lambda: "is gone" in fault_of(meter))
        reason = fault_of(meter)
        assert reason.endswith("plug the supply's USB cable in")
        time.sleep(0.1)  # several tries to open it again, that fail for another reason
        assert fault_of(meter) == reason
        rig.tell("plug")
        until(lambda: not fault_of(meter))
        assert power_now(meter).mean_w == pytest.approx(WATTS, rel=0.02)


def test_a_second_tcp_client_is_told_so(tcp):
    with meter_of(tcp):
        with pytest.raises(UnavailableError) as caught, meter_of(tcp):
            pass
    assert str(caught.value) == (
        f"{tcp.link.url} accepted the connection and closed it at once; it serves 1 client and has one, close the other"
    )


def test_a_second_reader_of_a_serial_port_is_refused(pty):
    with meter_of(pty), pytest.raises(UnavailableError, match="another program reads it"), meter_of(pty):
        pass


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("smartpower2:///dev/no-such-port", "cannot open /dev/no-such-port (No such file or directory); plug"),
        ("smartpower2:///dev/null", "cannot open /dev/null"),
        ("smartpower2://127.0.0.1:1", "cannot connect to 127.0.0.1:1"),
    ],
)
def test_a_port_that_is_not_there(url, words):
    meter = open_meter(url)  # touches nothing
    with pytest.raises(UnavailableError) as caught, meter:
        pass
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_reader_is_not_swallowed(tcp):
    meter = meter_of(tcp, parse=lambda line: 1 / 0)
    with pytest.raises(UnavailableError, match="has failed") as caught, meter:
        pass
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_serial_port_is_opened_so_that_the_pi_stays_on(monkeypatch):
    """RTS asserted while DTR is not resets the supply: both stand before the port opens, and nothing is written."""
    events = []

    class FakeSerial:
        def __init__(self, **options):
            events.append(options)

        def __setattr__(self, name, value):
            events.append((name, value))

        def open(self):
            events.append("open")

    monkeypatch.setattr("serial.Serial", FakeSerial)
    open_serial("/dev/ttyUSB0")
    assert events[0] == {"baudrate": 115200, "timeout": 0.1, "exclusive": True}
    assert events[1:] == [("dtr", True), ("rts", True), ("port", "/dev/ttyUSB0"), "open"]


def test_the_port_is_found_by_its_usb_id():
    ports = [SimpleNamespace(device=f"/dev/tty{i}", vid=0x10C4, pid=pid) for i, pid in enumerate((0xEA60, 1, 0xEA60))]
    assert find_serial("smartpower2", lambda: ports[:2]) == "/dev/tty0"
    with pytest.raises(UnavailableError, match="no serial port has the USB id 10c4:ea60"):
        find_serial("smartpower2", lambda: ports[1:2])
    with pytest.raises(UsageError, match="2 serial ports .*/dev/tty0, /dev/tty2.*smartpower2:///dev/tty0"):
        find_serial("smartpower2", lambda: ports)


# RAPL and replay.
