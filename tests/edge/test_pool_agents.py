"""A pool of real agents: one is killed, one never answers, two clients share them."""

import tempfile
import threading
from contextlib import ExitStack

import pytest
from agents import agent
from pools import IMAGES, MODEL, Clock, measured_on, noting, wait_until

from edge.devices.pool import Pool
from edge.errors import UnavailableError
from edge.measuring.plan import MeasurePlan
from edge.open_device import ON_DEVICE, open_device, open_test_bench
from edge.remote.client import RemoteDevice
from edge.remote.connect import connector

LONG = MeasurePlan("long", warmup_s=0.0, windows=3, window_s=1.0, max_spread=1e6)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the test's own: other tests have boards of the same names."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))



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


@pytest.mark.slow
def test_a_board_killed_while_it_measures_costs_only_time_and_comes_back(agents):
    dead, other = agents
    clock, told = Clock(), []
    devices = [RemoteDevice(each.url, connector(each.url), retry_s=0.3) for each in agents]

    def kill():
        with open_device(dead.url) as beside:
            wait_until(beside.jobs)
        dead.kill()

    with Pool(devices, noting(told), clock) as boards:
        killer = threading.Thread(target=kill)
        killer.start()
        assert boards.measure(MODEL, LONG, IMAGES).device == other.url
        killer.join()
        assert told[0].startswith(f"{dead.url} is left out for 60 s: {dead.url} does not answer")
        dead.start()
        assert measured_on(boards) == [other.url]
        clock.now_s += 60
        assert measured_on(boards) == [dead.url]


@pytest.mark.slow
def test_a_board_that_never_answers_is_left_out(agents):
    dead, other = agents
    dead.kill()
    told = []
    devices = [RemoteDevice(each.url, connector(each.url), first_contact_s=0.3) for each in agents]
    with Pool(devices, noting(told)) as boards:
        assert measured_on(boards) == [other.url]
    assert told[0].startswith(f"{dead.url} is left out for 60 s: {dead.url} does not answer")
    other.kill()
    with pytest.raises(UnavailableError, match=f"no device left: {dead.url}: .*; {other.url}: "):
        with Pool([RemoteDevice(each.url, connector(each.url), first_contact_s=0.3) for each in agents]):
            pass


@pytest.mark.slow
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
