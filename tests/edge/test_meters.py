"""Meters: one contract for all, on real pseudo-terminals and sockets, and each one's ways to fail."""

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.errors import InvalidMeasurementError, UnavailableError, UsageError
from edge.meters.meter import open_meter
from edge.meters.ports import find_serial, open_serial
from edge.meters.rapl import Counter, EnergySample, RaplMeter, power_of
from edge.meters.readings import parse_smart_power_2
from edge.meters.simulator.command import Load, simulate
from edge.meters.simulator.links import PtyLink, TcpLink
from edge.meters.simulator.supply import Faults, Supply
from edge.meters.smartpower import SmartPowerMeter

WATTS = 4.8
PERIOD_S = 0.01


class Rig:
    """A supply that is played by a thread, 100 lines a second. `tell` gives it a command."""

    def __init__(self, link, firmware="stock", **options):
        self.link = link
        start_s = time.monotonic()
        load = Load(lambda: [], WATTS, WATTS, start_s)
        tcp = isinstance(link, TcpLink)
        options = {"faults": Faults(jitter_s=0.002), "boot_s": 0.3, "period_s": PERIOD_S} | options
        supply = Supply(load.mean_w, start_s, firmware, tcp, **options)
        reading, self._writing = os.pipe()
        self._thread = threading.Thread(target=simulate, args=(load, [(link, supply)], reading))
        self._reading = reading

    def tell(self, command):
        os.write(self._writing, command.encode() + b"\n")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.tell("quit")
        self._thread.join()
        self.link.close()
        os.close(self._reading)
        os.close(self._writing)
        # Whatever is sent to a supply, a line end above all, can stop its readings.
        assert self.link.received == 0


@pytest.fixture
def pty():
    with Rig(PtyLink()) as rig:
        yield rig


@pytest.fixture
def tcp():
    with Rig(TcpLink("127.0.0.1", 0)) as rig:
        yield rig


def meter_of(rig, **limits) -> SmartPowerMeter:
    """A meter that gives up sooner."""
    meter = open_meter(f"smartpower2://{rig.link.url}")
    for name, value in limits.items():
        assert hasattr(meter, f"_{name}")
        setattr(meter, f"_{name}", value)
    return meter


def power_now(meter):
    """Lets the shortest window pass and gives its power; once more where this machine gave a thread no turn."""
    for _ in range(10):
        start_s = time.monotonic()
        time.sleep(meter.shortest_window_s)
        end_s = time.monotonic()
        try:
            return meter.power(start_s, end_s)
        except InvalidMeasurementError as error:
            fault = error
    raise fault


def until(condition, limit_s=10.0):
    """Waits for something that is bound to happen soon."""
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def fault_of(meter) -> str:
    """What `power` raises for a window that may be anything, as one line; empty when only the window is wrong."""
    now_s = time.monotonic()
    try:
        meter.power(now_s - 1, now_s)
    except UnavailableError as error:
        assert "\n" not in str(error)
        return str(error)
    except InvalidMeasurementError:
        pass
    return ""


class MeterContract:
    """What every meter must do. A subclass named Test... gives the fixture `meter`, of 4.8 W and not yet open."""

    def test_power(self, meter):
        assert "://" in meter.url
        with meter as opened:
            assert opened is meter
            power = power_now(meter)
            assert power.mean_w == pytest.approx(WATTS, rel=0.02)
            assert power.max_w == pytest.approx(WATTS, rel=0.02)
            assert power.readings >= 4 or (power.readings == 0 and meter.estimated)
            assert meter.shortest_window_s == pytest.approx(meter.shortest_window_s, rel=0.02)
            if meter.shortest_window_s > 0:
                now_s = time.monotonic()
                with pytest.raises(InvalidMeasurementError, match="too short for the meter's rate"):
                    meter.power(now_s - meter.shortest_window_s / 2, now_s)

    def test_opens_again(self, meter):
        with meter:
            pass
        if meter.shortest_window_s > 0:
            with pytest.raises(UsageError, match="with"):
                meter.power(0.0, 1000.0)
        with meter:
            now_s = time.monotonic()
            assert meter.shortest_window_s >= 0
            try:
                meter.power(now_s - 1, now_s)
            except InvalidMeasurementError:
                assert not meter.estimated


class TestEstimate(MeterContract):
    @pytest.fixture
    def meter(self):
        return open_meter("estimate://4.8W")


class TestReplay(MeterContract):
    @pytest.fixture
    def meter(self, tmp_path):
        log = tmp_path / "run.log"
        log.write_text("".join(f"{7 + i * PERIOD_S:.3f} 5.200,0.923,4.800,0.000\n" for i in range(50)))
        return open_meter(f"replay://{log}")


class TestSmartPower2OnAPty(MeterContract):
    @pytest.fixture
    def meter(self, pty):
        return open_meter(f"smartpower2://{pty.link.url}")


class TestSmartPower2OverTcp(MeterContract):
    @pytest.fixture
    def meter(self, tcp):
        return open_meter(f"smartpower2://{tcp.link.url}")


class TestYtrikozOverTcp(MeterContract):
    @pytest.fixture
    def meter(self):
        with Rig(TcpLink("127.0.0.1", 0), "ytrikoz") as rig:
            yield open_meter(f"smartpower2://{rig.link.url}")


class TestSmartPower3(MeterContract):
    @pytest.fixture
    def meter(self):
        with Rig(PtyLink(), "smartpower3") as rig:
            yield open_meter(f"smartpower3://{rig.link.url}?channel=0&baud=921600")


class TestRapl(MeterContract):
    @pytest.fixture
    def meter(self, tmp_path, monkeypatch):
        """Counters of two packages that advance by 1.8 and 3.0 W; they soon begin again from 0, which is at 100 J."""
        watts = {"intel-rapl:0": 1.8, "intel-rapl:1": 3.0}
        for zone, name in zip(watts, ("package-0", "package-1"), strict=True):
            write_zone(tmp_path / zone, name, 0)
        start_s = time.monotonic()

        def read(path):
            if path.name != "energy_uj":
                return path.read_text().strip()
            return str(int(99.5e6 + (time.monotonic() - start_s) * watts[path.parent.name] * 1e6) % 100_000_000)

        monkeypatch.setattr("edge.meters.rapl._read_text", read)
        return RaplMeter(root=tmp_path)

    def test_power(self, meter):
        with meter:
            power = power_now(meter)
        assert power.mean_w == pytest.approx(WATTS, rel=0.02)
        assert not meter.estimated


def write_zone(folder: Path, name: str, microjoules: int) -> None:
    folder.mkdir(exist_ok=True)
    for file, text in (("name", name), ("max_energy_range_uj", "99999999"), ("energy_uj", str(microjoules))):
        (folder / file).write_text(text + "\n")


# What a Smart Power does to its reader.


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
    with Rig(PtyLink(), boot_s=1.0) as rig, meter_of(rig, silence_s=0.2) as meter:
        rig.tell("reset")
        until(lambda: "bytes of something else" in fault_of(meter))
        until(lambda: not fault_of(meter))
        rig.tell("garbage")
        assert power_now(meter).mean_w == pytest.approx(WATTS, rel=0.02)


def test_failed_sensor_reads_are_counted():
    with Rig(PtyLink(), faults=Faults(0.0, failed=0.5)) as rig, meter_of(rig) as meter:
        start_s = time.monotonic()
        time.sleep(0.8)
        with pytest.raises(InvalidMeasurementError, match=r"\d+ of \d+ readings from .* are implausible"):
            meter.power(start_s, time.monotonic())


def test_only_failed_sensor_reads_are_told_from_silence():
    with Rig(PtyLink(), faults=Faults(failed=1.0)) as rig:
        with pytest.raises(UnavailableError, match="but implausible ones"), meter_of(rig, first_reading_s=0.2):
            pass


def test_the_faults_of_a_bad_line_change_nothing():
    faults = Faults(0.003, lost=0.01, joined=0.05, cut=0.1, debug=0.01)
    with Rig(PtyLink(), faults=faults) as rig, meter_of(rig) as meter:
        assert power_now(meter).mean_w == pytest.approx(WATTS, rel=0.02)


def test_an_unplugged_meter_gives_its_first_reason_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.meters.smartpower._FIRST_PAUSE_S", 0.02)
    with Rig(PtyLink(tmp_path / "meter")) as rig, meter_of(rig) as meter:
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


def test_rapl_counters_wrap_around():
    counter = Counter(Path("energy_uj"), 999, 990)
    assert [counter.advance(uj) for uj in (995, 3, 4)] == [5, 13, 14]


def test_rapl_power_is_that_of_the_samples_inside():
    samples = [EnergySample(i / 100, 5.0 * i / 100 if i < 50 else 2.5 + 7.0 * (i - 50) / 100) for i in range(101)]
    power = power_of(samples, 0.25, 0.755)
    assert (power.mean_w, power.max_w, power.readings) == (pytest.approx(6.0), pytest.approx(7.0), 50)
    with pytest.raises(InvalidMeasurementError, match="gappy"):
        power_of(samples, 0.9, 1.2)


def test_rapl_counts_packages_alone(tmp_path):
    for zone, name in {"0": "package-0", "0:0": "core", "1": "psys"}.items():
        write_zone(tmp_path / f"intel-rapl:{zone}", name, 7)
    with RaplMeter(root=tmp_path) as meter:
        assert power_now(meter).mean_w == 0.0


def test_rapl_where_there_is_none_or_it_may_not_be_read(tmp_path, monkeypatch):
    with pytest.raises(UnavailableError, match="use another meter"), RaplMeter(root=tmp_path):
        pass
    write_zone(tmp_path / "intel-rapl:0", "package-0", 7)
    read = Path.read_text

    def deny(path, **options):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path, **options)

    monkeypatch.setattr(Path, "read_text", deny)
    with pytest.raises(UnavailableError, match="sudo chmod a\\+r .*energy_uj"), RaplMeter(root=tmp_path):
        pass


def test_replay_loops_and_keeps_the_gaps(tmp_path):
    log = tmp_path / "run.log"
    lines = [f"{100 + i} 5.200,0.923,{4.8 if i < 30 else 4.9:.3f},0.000\n" for i in range(60)]
    log.write_text("#comment\n\n" + "".join(lines) + "160 81.919,0.000,250.139,0.000\n161 5.2")
    with open_meter(f"replay://{log}") as meter:
        opened_s = vars(meter)["_opened_s"]
        assert meter.power(opened_s, opened_s + 29.5).mean_w == pytest.approx(4.8)
        for loop in range(3):
            start_s = opened_s + 60 * loop + 31
            assert meter.power(start_s, start_s + 20).mean_w == pytest.approx(4.9)
    log.write_text("".join(lines[:20] + lines[25:]))
    with open_meter(f"replay://{log}") as meter:
        with pytest.raises(InvalidMeasurementError, match="gappy"):
            meter.power(time.monotonic(), time.monotonic() + 40)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("", "holds 0 readings, 6 with rising times"),
        ("5.200,0.923,4.800,0.000\n" * 10, "holds 0 readings"),
        ("1 5.200,0.923,4.800,0.000\n" * 10, "rising times"),
        ("2 5.200,0.923,4.800,0.000\n1 5.200,0.923,4.800,0.000\n", "line 2: 1.000 s comes after 2.000 s"),
    ],
)
def test_a_bad_log_is_refused(tmp_path, text, words):
    log = tmp_path / "run.log"
    if text is not None:
        log.write_text(text)
    with pytest.raises(UsageError) as caught, open_meter(f"replay://{log}"):
        pass
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_line_of_a_log_is_that_of_the_wire():
    assert parse_smart_power_2(b"5.200,0.923,4.800,0.000") is not None
