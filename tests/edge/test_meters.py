"""Meters: one contract for all, on real pseudo-terminals and sockets."""

import time

import pytest
from supplies import PERIOD_S, WATTS, SimulatedSupply, power_now, write_zone

from edge.errors import InvalidMeasurementError, UsageError
from edge.meters.meter import open_meter
from edge.meters.rapl import RaplMeter
from edge.meters.simulator.links import PtyLink, TcpLink


@pytest.fixture
def pty():
    with SimulatedSupply(PtyLink()) as supply:
        yield supply


@pytest.fixture
def tcp():
    with SimulatedSupply(TcpLink("127.0.0.1", 0)) as supply:
        yield supply


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
        with SimulatedSupply(TcpLink("127.0.0.1", 0), "ytrikoz") as supply:
            yield open_meter(f"smartpower2://{supply.link.url}")


class TestSmartPower3(MeterContract):
    @pytest.fixture
    def meter(self):
        with SimulatedSupply(PtyLink(), "smartpower3") as supply:
            yield open_meter(f"smartpower3://{supply.link.url}?channel=0&baud=921600")


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
