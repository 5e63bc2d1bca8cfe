"""The simulated supply: what it sends and when, on a simulated clock; and its command, on real ports."""

import itertools
import random
import subprocess
import sys
import time
from collections import namedtuple

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.__main__ import main
from edge.errors import InvalidMeasurementError, UsageError
from edge.meters.meter import open_meter
from edge.meters.readings import Decoder, parse_smart_power_3
from edge.meters.simulator.power_profile import Load, descendants, named
from edge.meters.simulator.supply import FIRMWARES, Faults, Profile, Supply

COMMAND = "import sys; from edge.__main__ import main; sys.exit(main(['simulate-meter', *sys.argv[1:]]))"
CLEAN = Faults(jitter_s=0.0)


def constant(start_s, end_s):
    return 4.8


def sent(supply, end_s) -> bytes:
    return b"".join(chunk.data for chunk in supply.advance(end_s))


def test_the_true_mean_of_a_profile():
    profile = Profile([(10.0, 2.8), (12.0, 4.8), (13.0, 2.8)])
    assert profile.mean_w(0.0, 12.0) == pytest.approx(2.8)
    assert profile.mean_w(11.0, 13.0) == pytest.approx(3.8)
    assert profile.mean_w(12.5, 14.5) == pytest.approx(3.3)


@pytest.mark.parametrize(
    ("firmware", "tcp", "period_s", "end"),
    [
        ("stock", False, 1.0, b",0.000\r\n"),
        ("stock", True, 1.0, b",0.000\r\n"),
        ("dres0109", False, 0.1, b",0.000\r\n"),
        ("ytrikoz", False, 0.25, b"W\r"),
        ("ytrikoz", True, 0.25, b"}\r"),
        ("smartpower3", False, 0.01, b"\r\n"),
    ],
)
def test_every_firmware_ticks_at_its_rate_and_is_understood(firmware, tcp, period_s, end):
    chunks = Supply(constant, 100.0, firmware, tcp, faults=CLEAN).advance(100.0 + 40 * period_s + 1e-6)
    assert [chunk.time_s for chunk in chunks] == pytest.approx([100.0 + i * period_s for i in range(1, 41)])
    assert all(chunk.data.endswith(end) for chunk in chunks)
    decoder = Decoder(parse_smart_power_3) if firmware == "smartpower3" else Decoder()
    decoder.feed(b"\n")
    samples = [sample for chunk in chunks for sample in decoder.feed(chunk.data)]
    assert len(samples) == 40 and decoder.implausible == 0
    assert all(sample.watts == pytest.approx(4.8, abs=0.006) for sample in samples)


def test_a_line_is_the_mean_of_264_ms_that_ended_up_to_264_ms_ago():
    profile = Profile([(0.0, 0.0), (1000.0, 4.8)])

    def shown_after(seconds):
        """What 200 supplies show in a line of so many seconds after the step."""
        supplies = [Supply(profile.mean_w, 999 + seconds, faults=CLEAN, seed=seed) for seed in range(200)]
        watts = [float(sent(supply, 1000.001 + seconds).split(b",")[2]) for supply in supplies]
        return pytest.approx(min(watts), abs=0.1), pytest.approx(max(watts), abs=0.1)

    assert shown_after(0.0) == (0.0, 0.0)
    assert shown_after(0.1) == (0.0, 4.8 * 0.1 / 0.264)
    assert shown_after(0.4) == (4.8 * (0.4 - 0.264) / 0.264, 4.8)
    assert shown_after(0.53) == (4.8, 4.8)


@given(st.lists(st.floats(0.0, 20.0), max_size=30), st.integers(0, 1000))
def test_the_bytes_do_not_depend_on_when_they_are_asked_for(times, seed):
    faults = Faults(0.05, lost=0.1, joined=0.1, cut=0.2, debug=0.1, failed=0.05)
    whole = Supply(constant, 0.0, "ytrikoz", faults=faults, seed=seed).advance(20.0)
    supply = Supply(constant, 0.0, "ytrikoz", faults=faults, seed=seed)
    asked = [chunk for time_s in [*sorted(times), 20.0] for chunk in supply.advance(time_s)]
    assert asked == whole
    assert [chunk.time_s for chunk in whole] == sorted(chunk.time_s for chunk in whole)


def test_faults_come_as_often_as_they_are_asked_for():
    def lines(**shares):
        data = sent(Supply(constant, 0.0, faults=Faults(0.0, **shares)), 2000.5)
        decoder = Decoder()
        return len(decoder.feed(b"\n" + data)), decoder.implausible

    assert lines() == (2000, 0)
    assert 1970 < lines(lost=0.01)[0] < 1990
    assert 80 < lines(failed=0.05)[1] < 120
    assert lines(joined=0.1)[0] in (1999, 2000)  # the last one may still be held back
    assert lines(cut=0.5) == (2000, 0)
    assert 1870 < lines(debug=0.05)[0] < 1940
    joined = Supply(constant, 0.0, faults=Faults(0.0, joined=0.2)).advance(100.5)
    assert any(chunk.data.count(b"\r\n") == 2 for chunk in joined)


def test_an_output_that_is_off():
    for firmware, tcp, left in (
        ("stock", False, b""),
        ("stock", True, b"0.000,0.000,0.000,0.000\r\n"),
        ("ytrikoz", True, b""),
    ):
        supply = Supply(constant, 0.0, firmware, tcp, faults=CLEAN)
        supply.advance(5.5)
        supply.command("off", 5.5)
        assert sent(supply, 6.1)[-len(left) or None :] == left and bool(sent(supply, 7.1)) == bool(left)
        supply.command("on", 7.5)
        assert b"4.8" in sent(supply, 9.0)


def test_a_reset_makes_noise_and_five_seconds_without_a_reading():
    supply = Supply(constant, 0.0, faults=CLEAN)
    supply.advance(10.5)
    supply.command("reset", 10.5)
    noise = sent(supply, 15.6)
    assert b"\0" in noise and max(noise) > 0x7F
    assert b"[SETUP] BOOT WAIT 4...\n\r" in noise and b"HTTP server started\r\n" in noise
    assert Decoder().feed(noise) == []
    assert [chunk.time_s for chunk in supply.advance(18.0)] == pytest.approx([15.7, 16.7, 17.7])


def test_silence_and_garbage():
    supply = Supply(constant, 0.0, faults=CLEAN)
    supply.command("silence 3.5", 0.0)
    supply.command("garbage", 2.0)
    chunks = supply.advance(5.5)
    assert [chunk.time_s for chunk in chunks] == pytest.approx([2.0, 4.0, 5.0])
    assert Decoder().feed(chunks[0].data) == []


@pytest.mark.parametrize("command", ["", "fly", "silence", "silence x", "silence -1", "reset now"])
def test_an_unknown_command_lists_what_exists(command):
    with pytest.raises(UsageError, match="there is: reset, silence SECONDS"):
        Supply(constant, 0.0).command(command, 0.0)


def test_bad_settings_are_refused():
    for faults in ({"lost": 1.1}, {"cut": -0.1}, {"jitter_s": float("nan")}):
        with pytest.raises(UsageError):
            Faults(**faults)
    with pytest.raises(UsageError, match="> 0 s"):
        Supply(constant, 0.0, period_s=0.0)


# The load follows processes.


class FakeProcess:
    """Burns a processor from 10.0 to 12.0 s, gone from 15.0 s on."""

    def __init__(self, clock):
        self._clock = clock

    def cpu_times(self):
        if self._clock[0] > 15:
            raise psutil.NoSuchProcess(1)
        return namedtuple("Times", "user system")(min(max(self._clock[0] - 10, 0), 2), 0.0)


def test_the_load_follows_what_processes_burn(tmp_path):
    clock = [5.0]
    process = FakeProcess(clock)
    with (tmp_path / "log").open("w") as log:
        load = Load(lambda: [process], 2.8, 4.8, 5.0, log)
        while clock[0] < 16:
            clock[0] += 0.01
            load.poll(clock[0])
        load.finish(16.0)
    steps = [tuple(map(float, line.split())) for line in (tmp_path / "log").read_text().splitlines()]
    assert [watts for _, watts in steps] == [2.8, 4.8, 2.8, 2.8]
    assert [time_s for time_s, _ in steps] == pytest.approx([5.0, 10.0, 12.0, 16.0], abs=0.2)
    assert load.mean_w(10.25, 12.0) == pytest.approx(4.8)
    assert load.mean_w(5.0, 9.9) == pytest.approx(2.8)


def test_processes_are_found_by_name_and_by_parent():
    mark = f"mark-{random.getrandbits(64):x}"
    with subprocess.Popen([sys.executable, "-c", "input()", mark], stdin=subprocess.PIPE) as process:
        try:
            assert [found.pid for found in named(mark)()] == [process.pid]
            assert process.pid in [found.pid for found in descendants(psutil.Process().pid)()]
        finally:
            process.kill()
    assert list(named(mark)()) == []
    assert list(descendants(process.pid)()) == []


# The command.


class Simulator:
    """`simulate-meter` in a process of its own; `urls` are what it prints."""

    def __init__(self, *arguments, urls):
        command = [sys.executable, "-c", COMMAND, "--jitter", "0.002", "--boot", "0.3", *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.urls = [self.process.stdout.readline().strip() for _ in range(urls)]

    def tell(self, command):
        print(command, file=self.process.stdin, flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def test_the_command_plays_on_a_pty_and_over_tcp(tmp_path):
    link = tmp_path / "meter"
    with Simulator("--period", "0.01", "--tcp", "0", "--link", str(link), "--idle", "4.8", urls=2) as simulator:
        assert simulator.urls[0] == f"smartpower2://{link}"
        for url in simulator.urls:
            with open_meter(url) as meter:
                simulator.tell("reset")
                simulator.tell("fly")
        assert simulator.urls[1].startswith("smartpower2://127.0.0.1:")
        simulator.tell("quit")
        assert simulator.process.wait(10) == 0
        assert not link.exists()
        assert simulator.process.stderr.read().count("edge: no command 'fly'; there is") == 2
        assert meter.url == simulator.urls[1]


def test_the_energy_of_a_process_is_that_of_the_log(tmp_path):
    """A process burns CPU: somewhere in its run the log holds a busy stretch, and the meter reads its power."""
    mark, log = f"mark-{random.getrandbits(64):x}", tmp_path / "log"
    arguments = ("--firmware", "smartpower3", "--follow", mark, "--log", str(log))
    with Simulator(*arguments, urls=1) as simulator, open_meter(simulator.urls[0]) as meter:
        with subprocess.Popen([sys.executable, "-c", "while True: pass", mark]) as burner:
            try:
                power = _busy_power(meter, log)
            finally:
                burner.kill()
    assert power.mean_w == pytest.approx(4.8, rel=0.02)
    assert power.readings >= 10


def _busy_power(meter, log):
    """Power in a window inside a stretch at busy power, as soon as one holds enough readings."""
    give_up_s = time.monotonic() + 60
    after_s = 0.0
    while time.monotonic() < give_up_s:
        time.sleep(0.05)
        steps = [tuple(map(float, line.split())) for line in log.read_text().splitlines()]
        steps.append((time.monotonic() - 0.1, 0.0))
        for (start_s, watts), (end_s, _) in itertools.pairwise(steps):
            start_s = max(start_s, after_s)
            if watts == 4.8 and end_s - start_s > meter.shortest_window_s + 0.2:
                try:
                    return meter.power(start_s, end_s)
                except InvalidMeasurementError:
                    after_s = end_s
    raise AssertionError("the burning process never got its share of the processor")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--firmware", "beta"], "beta"),
        (["--period", "0"], "> 0 s"),
        (["--lost", "2"], "0..1"),
        (["--tcp", "x"], "[HOST:]PORT"),
        (["--no-pty"], "--tcp"),
        (["--idle", "5"], "--idle <= --busy"),
        (["--log", "/no/such/folder/log"], "/no/such/folder/log"),
    ],
)
def test_bad_arguments_exit_2_with_one_line(arguments, words, capsys):
    try:
        code = main(["simulate-meter", *arguments])
    except SystemExit as stop:
        code = stop.code
    shown = capsys.readouterr().err
    assert code == 2 and shown.startswith("edge: ") and shown.count("\n") == 1 and words in shown


def test_firmwares_are_those_of_the_facts():
    assert {name: firmware.period_s for name, firmware in FIRMWARES.items()} == {
        "stock": 1.0, "dres0109": 0.1, "ytrikoz": 0.25, "smartpower3": 0.01,
    }  # fmt: skip
