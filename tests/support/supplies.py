"""A simulated supply that a thread plays, and what the tests of meters share."""

import os
import threading
import time
from pathlib import Path

from edge.errors import InvalidMeasurementError, UnavailableError
from edge.meters.meter import open_meter
from edge.meters.simulator.command import simulate
from edge.meters.simulator.links import TcpLink
from edge.meters.simulator.power_profile import Load
from edge.meters.simulator.supply import Faults, Supply
from edge.meters.smartpower import SmartPowerMeter

WATTS = 4.8
PERIOD_S = 0.01


class SimulatedSupply:
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


def meter_of(supply, **limits) -> SmartPowerMeter:
    """A meter that gives up sooner."""
    meter = open_meter(f"smartpower2://{supply.link.url}")
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


def write_zone(folder: Path, name: str, microjoules: int) -> None:
    folder.mkdir(exist_ok=True)
    for file, text in (("name", name), ("max_energy_range_uj", "99999999"), ("energy_uj", str(microjoules))):
        (folder / file).write_text(text + "\n")


# What a Smart Power does to its reader.
