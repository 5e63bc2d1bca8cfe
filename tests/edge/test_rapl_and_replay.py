"""The processor's energy counters, and recorded logs."""

import time
from pathlib import Path

import pytest
from supplies import power_now, write_zone

from edge.errors import InvalidMeasurementError, UnavailableError, UsageError
from edge.meters.meter import open_meter
from edge.meters.rapl import Counter, EnergySample, RaplMeter, power_of
from edge.meters.readings import parse_smart_power_2


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
