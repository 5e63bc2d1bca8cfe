"""What a meter sends becomes readings, and readings become the right power or a named error."""

import itertools
import random

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from edge.errors import InvalidMeasurementError
from edge.meters.readings import (
    Decoder,
    Power,
    Rate,
    Reading,
    Sample,
    checksums,
    measure_period,
    parse_smart_power_3,
    power_between,
    shortest_window_s,
    taken_at,
)
from edge.meters.simulator.supply import FIRMWARES, Faults, Profile, Supply

STOCK = b"5.254,0.711,3.741,0.000\r\n"
A_SAMPLE = Sample(3.741, 5.254, 0.711)
BOOT = b"\x00\xff\x8e\n\r[SETUP] BOOT WAIT 4...\n\r#####\r\nFS File: a\r\nHTTP server started\r\n"
PIECES = st.sampled_from([
    STOCK, STOCK[:7], STOCK[7:], b"12.004,1.250,15.005,1234.567\r\n", b"81.919,0.000,250.139,0.000\r\n",
    b"5.25V 1.22A 6.39W\r", b"5.25V 390mA 2.05W\r", b"5.25V  39mA 0.20W\r", b"scandone\n", b"bcn 0\n",
    b'{"v":5.250,"i":1.220,"p":6.390,"wh":0.012345}\r', b"station: 5c:cf join, AID = 1\n", BOOT, b"\0", b"\xff" * 200,
])  # fmt: skip


def decode(*pieces: bytes, parse=None) -> list[Sample]:
    decoder = Decoder() if parse is None else Decoder(parse)
    return [sample for piece in (b"\n", *pieces) for sample in decoder.feed(piece)]


@pytest.mark.parametrize(
    ("line", "sample"),
    [
        (STOCK, A_SAMPLE),
        (b"12.004,1.250,15.005,0.000\r\n", Sample(15.005, 12.004, 1.25)),
        (b"0.000,0.000,0.000,0.000\r\n", Sample(0.0, 0.0, 0.0)),
        (b"5.25V 1.22A 6.39W\r", Sample(6.39, 5.25, 1.22)),
        (b"5.25V 390mA 2.05W\r", Sample(2.05, 5.25, 0.39)),
        (b'{"v":5.250,"i":1.220,"p":6.390,"wh":0.012345}\r', Sample(6.39, 5.25, 1.22)),
    ],
)
def test_whole_lines_become_samples(line, sample):
    assert decode(line) == [sample]


@pytest.mark.parametrize(
    "data",
    [
        b"5.254,0.711,3.7\r\n",
        b"5.254,0.711,3.741\r\n",
        b"5.254,0.711,3.741,0.00\r\n",
        b".254,0.711,3.741,0.000\r\n",
        b"5.254,0.7scandone\n11,3.741,0.000\r\n",
        b"5.254,0.711,3.741,0.0005.254,0.711,3.741,0.000\r\n",
        b"x5.254,0.711,3.741,0.000\r\n",
        b"5.254, 0.711,3.741,0.000\r\n",
        b"5.25V 1.22A 6.3\r",
        b'"v":5.250,"i":1.220,"p":6.390,"wh":0.012345}\r',
        STOCK[:-2],
        BOOT,
    ],
)
def test_what_is_no_whole_line_is_no_reading(data):
    decoder = Decoder()
    assert decoder.feed(b"\n" + data) == [] and decoder.implausible == 0


@pytest.mark.parametrize(
    "line",
    [
        b"81.919,0.000,250.139,0.000",
        b"30.001,0.100,3.000,0.000",
        b"5.254,5.001,26.275,0.000",
        b"5.254,0.711,3.900,0.000",
        b"5.254,0.711,3.600,0.000",
    ],
)
def test_implausible_lines_are_counted(line):
    decoder = Decoder()
    assert decoder.feed(b"\n" + line + b"\r\n" + STOCK) == [A_SAMPLE] and decoder.implausible == 1


def test_the_bytes_before_the_first_line_end_may_be_half_a_line():
    # 15.254,0.003,0.046 without its first digit looks like a whole line.
    assert Decoder().feed(b"5.254,0.003,0.046,0.000\r\n" + STOCK) == [A_SAMPLE]


def test_joined_lines_and_all_line_ends():
    assert decode(STOCK + STOCK, b"\n\r" + STOCK[:-2] + b"\n") == [A_SAMPLE] * 3


def test_the_buffer_is_bounded():
    decoder = Decoder()
    for _ in range(1000):
        assert decoder.feed(b"5" * 1000) == []
    assert len(vars(decoder)["_rest"]) <= 128
    assert decoder.feed(STOCK + STOCK) == [A_SAMPLE]


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.lists(PIECES | st.binary(max_size=40), max_size=20).map(b"".join),
    st.lists(st.integers(0, 600), max_size=20),
)
@example(STOCK + STOCK[:5], [24])
def test_the_same_readings_however_the_bytes_are_cut(data, cuts):
    whole, cut = Decoder(), Decoder()
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    assert whole.feed(data) == [sample for piece in pieces for sample in cut.feed(piece)]
    assert whole.implausible == cut.implausible


@given(st.integers(0, len(STOCK)), st.integers(0, len(STOCK)), st.sampled_from([b"\r\n", b"\n", b"\r", b"\n\r"]))
def test_no_part_of_a_line_is_a_reading(start, end, line_end):
    assume((start, end) not in [(0, len(STOCK) - 2), (0, len(STOCK) - 1), (0, len(STOCK))])
    assert decode(STOCK[start:end] + line_end) == []


def smart_power_3(watts: float, volts: float = 5.2) -> bytes:
    return FIRMWARES["smartpower3"].serial(volts, watts / volts, watts, 123)


def test_smart_power_3():
    line = smart_power_3(4.8)
    assert len(line) == 81 and line.count(b",") == 16
    assert decode(line, parse=parse_smart_power_3) == [Sample(4.8, 5.2, 0.923)]
    assert parse_smart_power_3(line.strip(), channel=1) == Sample(0.0, 0.0, 0.0)


def test_smart_power_3_checksums_of_a_known_text():
    # 0x61 + 0x62 + 0x2c = 0xef; its two's complement is 0x11. 0x61 ^ 0x62 ^ 0x2c = 0x2f.
    assert checksums(b"ab,") == (0x11, 0x2F)


@given(st.integers(0, 78), st.integers(1, 255))
def test_smart_power_3_with_a_wrong_byte_is_no_reading(place, change):
    line = bytearray(smart_power_3(4.8).strip())
    line[place] ^= change
    assert parse_smart_power_3(bytes(line)) is None


# A stock meter, one of 250 ms, one of 10 ms.
STOCK_RATE, QUICK_RATE, FAST_RATE = Rate(1.0, 0.578), Rate(0.25, 0.578), Rate(0.01, 0.06)


def steady(count: int, rate: Rate = STOCK_RATE, watts: float = 4.8) -> list[Reading]:
    return [Reading(i * rate.period_s, watts, 5.2, watts / 5.2) for i in range(count)]


def test_readings_count_only_when_all_they_speak_of_lies_inside():
    readings = [Reading(float(i), float(i), 5.0, 0.0) for i in range(20)]
    power = power_between(readings, STOCK_RATE, 2.5, 12.9)
    assert power == Power(mean_w=8.0, max_w=12.0, readings=9)  # 4 .. 12: that of 3.0 began at 2.42


@pytest.mark.parametrize("rate", [STOCK_RATE, QUICK_RATE, FAST_RATE])
def test_a_window_too_short_for_the_rate_is_refused(rate):
    readings = steady(1000, rate)
    length_s = shortest_window_s(rate)
    for begin_s in (1.0, 1.2345, 1.9):
        assert power_between(readings, rate, begin_s, begin_s + length_s).readings >= 5
    with pytest.raises(InvalidMeasurementError, match="too short for the meter's rate"):
        power_between(readings, rate, 1.0, 1.0 + 0.99 * length_s)


@pytest.mark.parametrize("first, last", [(0, 10), (25, 30), (50, 60), (0, 60)], ids=["start", "middle", "end", "all"])
def test_a_hole_is_refused(first, last):
    readings = [r for r in steady(61) if not first <= r.time_s <= last]
    with pytest.raises(InvalidMeasurementError, match="gappy"):
        power_between(readings, STOCK_RATE, 0.0, 60.0)


def test_too_many_single_losses_are_refused():
    readings = [r for i, r in enumerate(steady(61)) if i % 10]
    with pytest.raises(InvalidMeasurementError, match="gappy readings: 5. of 59 came"):
        power_between(readings, STOCK_RATE, 0.0, 60.0)


def test_one_lost_line_in_a_hundred_passes():
    readings = [r for i, r in enumerate(steady(301)) if i % 100 != 50]
    assert power_between(readings, STOCK_RATE, 0.0, 300.0).readings == 297


def test_joined_lines_are_put_back_where_they_were_taken():
    # The line of 3.0 s waits for that of 4.0 s. It tells of the time before the window.
    readings = [Reading(t, w, 5.0, 0.0) for t, w in zip([1, 2, 4, *range(4, 20)], [2.8] * 3 + [4.8] * 16, strict=True)]
    assert taken_at([1.0, 2.0, 4.0, 4.0], 1.0) == [1.0, 2.0, pytest.approx(3.02), 4.0]
    assert power_between(readings, STOCK_RATE, 3.1, 12.0).mean_w == pytest.approx(4.8)


@settings(max_examples=300)
@given(st.integers(10, 80), st.sampled_from([1.0, 0.25, 0.1, 0.01]), st.integers(0, 10_000), st.booleans())
def test_the_period_is_measured(count, period_s, seed, hitch):
    rng = random.Random(seed)
    late_s = [rng.uniform(0, min(0.04, 0.2 * period_s)) for _ in range(count)]
    lost, joined = rng.sample(range(1, count - 1), 2) if hitch else (None, None)
    if joined is not None:
        late_s[joined] = period_s + late_s[joined + 1]
    arrivals = [i * period_s + late_s[i] for i in range(count) if i != lost]
    assert measure_period(arrivals) == pytest.approx(period_s, rel=0.05)


def test_a_lost_line_is_no_longer_period():
    # 40 arrivals hold two that are lost: a mean would be 5 % off.
    arrivals = [float(i) for i in range(42) if i not in (10, 30)]
    assert measure_period(arrivals) == pytest.approx(1.0, rel=1e-6)
    # A busy reader gets three lines of 10 ms at a time.
    assert measure_period([0.03 * (i // 3) for i in range(61)]) == pytest.approx(0.01, rel=0.05)


def play(profile: Profile, end_s: float, firmware: str, period_s: float, faults: Faults, seed: int) -> list[Reading]:
    """What a reader has after `end_s` seconds of a simulated clock."""
    supply = Supply(profile.mean_w, 0.0, firmware, period_s=period_s, faults=faults, seed=seed)
    decoder = Decoder(parse_smart_power_3) if firmware == "smartpower3" else Decoder()
    decoder.feed(b"\n")
    return [
        Reading(chunk.time_s, sample.watts, sample.volts, sample.amps)
        for chunk in supply.advance(end_s)
        for sample in decoder.feed(chunk.data)
    ]


METERS = {
    "stock": (1.0, STOCK_RATE),
    "ytrikoz": (0.25, QUICK_RATE),
    "dres0109": (0.1, Rate(0.1, 0.578)),
    "smartpower3": (0.01, Rate(0.01, 0.06)),
}
FAULTS = st.builds(
    Faults, jitter_s=st.floats(0, 0.05), lost=st.sampled_from([0.0, 0.01]), joined=st.sampled_from([0.0, 0.05]),
    cut=st.sampled_from([0.0, 0.1]),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=300)
@given(st.sampled_from(sorted(METERS)), FAULTS, st.data())
def test_energy_is_right(firmware, faults, data):
    """Idle 2.8 W, busy 4.8 W; the windows begin and end with the busy stretches, as those of a measurement do."""
    period_s, rate = METERS[firmware]
    seed = data.draw(st.integers(0, 2**32), "seed")
    # At 1 Hz and 250 ms a busy stretch must be longer than the shortest window; 10 ms: a few seconds are enough.
    busy = st.floats(1.0, 30.0 if period_s > 0.05 else 4.0).map(lambda extra_s: shortest_window_s(rate) + extra_s)
    stretches = data.draw(st.lists(st.tuples(st.floats(0.1, 5.0), busy), min_size=1, max_size=4), "idle, busy")
    time_s, steps, windows = 3.0, [(0.0, 2.8)], []
    for idle_s, busy_s in stretches:
        windows.append((time_s + idle_s, time_s + idle_s + busy_s))
        steps += [(windows[-1][0], 4.8), (windows[-1][1], 2.8)]
        time_s = windows[-1][1]
    profile = Profile(steps)
    readings = play(profile, time_s + 3.0, firmware, period_s, faults, seed)
    for start_s, end_s in windows:
        try:
            power = power_between(readings, rate, start_s, end_s)
        except InvalidMeasurementError:
            # Two losses fall together now and then: refused, not guessed.
            assert faults.lost > 0
            continue
        assert power.mean_w == pytest.approx(profile.mean_w(start_s, end_s), rel=0.02)
        assert power.max_w == pytest.approx(4.8, rel=0.02)


@pytest.mark.slow
@settings(max_examples=100)
@given(st.sampled_from(sorted(METERS)), FAULTS, st.data())
def test_the_mean_over_steps_inside_a_window_is_right(firmware, faults, data):
    """Steps anywhere in a window of 300 periods and more, eight at the most."""
    period_s, rate = METERS[firmware]
    length_s = 300 * max(period_s, rate.span_s)
    times = data.draw(st.lists(st.floats(0.0, length_s), max_size=4), "steps")
    profile = Profile([(0.0, 2.8), *((3.0 + t, (4.8, 2.8)[i % 2]) for i, t in enumerate(sorted(times)))])
    readings = play(profile, length_s + 8.0, firmware, period_s, faults, data.draw(st.integers(0, 2**32), "seed"))
    try:
        power = power_between(readings, rate, 3.0, 3.0 + length_s)
    except InvalidMeasurementError:
        assert faults.lost > 0
    else:
        assert power.mean_w == pytest.approx(profile.mean_w(3.0, 3.0 + length_s), rel=0.02)


def test_one_percent_lost_is_hardly_ever_refused():
    profile, refused = Profile([(0.0, 4.8)]), 0
    for seed in range(200):
        readings = play(profile, 70.0, "stock", 1.0, Faults(lost=0.01), seed)
        try:
            power_between(readings, STOCK_RATE, 2.0, 62.0)
        except InvalidMeasurementError:
            refused += 1
    assert refused <= 4
