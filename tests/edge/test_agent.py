"""The agent from inside: uploads within limits, jobs in turn, a host that vanished; and an attacker at its port."""

import hashlib
import json
import threading
import time

import numpy as np
import psutil
import pytest
import rpyc
from agents import agent
from contracts import make_images
from models import float_model
from rpyc.core import consts

from edge.errors import UsageError
from edge.measuring.plan import PLANS, MeasurePlan
from edge.open_device import open_device
from edge.remote.agent import LEASE_S, Agent
from edge.remote.client import npy_bytes
from edge.remote.protocol import JobProgress, JobRequest, JobState, Task
from edge.remote.uploads import Store


def name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_comes_in_pieces_and_is_checked(tmp_path):
    store, content = Store(tmp_path / "new"), bytes(range(256)) * 10
    assert store.received(name(content), 2560) == 0
    assert store.append(name(content), 0, 2560, content[:1000]) == 1000
    assert store.append(name(content), 0, 2560, content[:1000]) == 1000  # an answer was lost: nothing happens twice
    with pytest.raises(UsageError, match="is not on the device"):
        store.path(name(content))
    assert store.append(name(content), 1000, 2560, content[1000:]) == 2560
    assert store.path(name(content)).read_bytes() == content


@pytest.mark.parametrize("suffix", ["", ".part"], ids=["cut by a power failure", "whole but never looked at"])
def test_what_a_dying_agent_left_is_sent_anew(tmp_path, suffix):
    store, content = Store(tmp_path), bytes(1000)
    (tmp_path / (name(content) + suffix)).write_bytes(content if suffix else b"")
    assert store.received(name(content), 1000) == 0
    assert store.append(name(content), 0, 1000, content) == 1000
    assert store.path(name(content)).read_bytes() == content


def test_two_hosts_send_the_same_file_at_the_same_time(tmp_path):
    store, content = Store(tmp_path), bytes(range(250)) * 400

    def send():
        received = 0
        while received < len(content):
            received = store.append(name(content), received, len(content), content[received : received + 1000])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert store.path(name(content)).read_bytes() == content


def test_another_content_than_its_name_says_is_thrown_away(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(UsageError, match="send it again"):
        store.append(name(b"good"), 0, 4, b"evil")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("offset", "total", "piece"), [(0, 0, b""), (-1, 9, b"x"), (0, 200, b"x"), (8, 9, b"xx"), (0, -1, b"")]
)
def test_sizes_beyond_the_limit_are_refused(tmp_path, offset, total, piece):
    with pytest.raises(UsageError, match="a file has 1 to 100 bytes"):
        Store(tmp_path, max_file_bytes=100).append(name(b"a"), offset, total, piece)


@pytest.mark.parametrize("bad", ["../../etc/passwd", "a" * 63, "A" * 64, "", "a" * 64 + "\n", "/" + "a" * 63])
def test_a_name_that_is_no_sha256_reaches_no_file(tmp_path, bad):
    store = Store(tmp_path)
    for call in (store.path, lambda sha: store.received(sha, 1), lambda sha: store.append(sha, 0, 1, b"x")):
        with pytest.raises(UsageError, match="is no sha256"):
            call(bad)


def test_the_oldest_unused_file_goes_first(tmp_path):
    import os

    store = Store(tmp_path, max_store_bytes=25)
    old, used, new = (letter * 10 for letter in (b"a", b"b", b"c"))
    for content, second in ((used, 1), (old, 2)):
        store.append(name(content), 0, 10, content)
        os.utime(tmp_path / name(content), (second, second))
    store.path(name(used))
    store.append(name(new), 0, 10, new)
    assert {path.name for path in tmp_path.iterdir()} == {name(used), name(new)}


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def busy(tmp_path, clock):
    """An agent with an endless measurement running and what is needed to start more."""
    store = Store(tmp_path)
    model, images = float_model(), npy_bytes(make_images(2))
    for content in (model, images):
        store.append(name(content), 0, len(content), content)
    plan = MeasurePlan("endless", 0.0, 100, 60.0).to_dict()
    request = JobRequest(Task.MEASURE, [name(model)], name(images), plan=plan)
    with Agent(store, clock=clock) as agent:
        agent.start("first", request)
        wait_for(agent, "first", "running")
        yield agent, request


def wait_for(agent, job, state):
    for _ in range(1000):
        if agent.poll(job, 0.01).state == state:
            return
    raise AssertionError(f"{job} is not {state}")


def test_jobs_wait_in_turn_and_can_be_cancelled(busy):
    agent, request = busy
    for job in ("second", "third"):
        agent.start(job, request)
    assert [agent.poll(job, 0.0).ahead for job in ("first", "second", "third")] == [0, 1, 2]
    agent.cancel("second")
    assert agent.poll("third", 0.0).ahead == 1
    agent.cancel("first")
    wait_for(agent, "third", "running")
    failure = agent.poll("first", 0.0).failure
    assert failure == {"error": "UnavailableError", "message": "cancelled by the host", "remedy": ""}


def test_a_host_that_vanished_frees_the_device_and_one_that_asks_keeps_it(busy, clock):
    agent, request = busy
    agent.start("waiting", request)
    clock.now_s += LEASE_S
    agent.poll("waiting", 0.0)
    clock.now_s += 1.0
    agent.give_up_abandoned()
    assert "no host has asked" in agent.poll("first", 0.0).failure["message"]
    wait_for(agent, "waiting", "running")


def test_a_job_is_started_once_however_often_it_is_asked_for(busy):
    agent, request = busy
    agent.start("first", request)
    agent.start("second", request)
    assert agent.poll("second", 0.0).ahead == 1
    assert agent.poll("before the restart", 0.0) == JobProgress(JobState.UNKNOWN)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "format"}, "neither measure nor predict"),
        ({"plan": {}}, "not a valid MeasurePlan"),
        ({"plan": {**PLANS["search"].to_dict(), "windows": 0}}, "windows must be >= 1"),
        ({"models": ["0" * 64]}, "is not on the device"),
        ({"models": []}, "a list of 1 to 16"),
        ({"models": "0" * 64}, "a list of 1 to 16"),
        ({"images": "x"}, "is no sha256"),
    ],
)
def test_a_bad_request_is_refused(busy, change, words):
    agent, request = busy
    with pytest.raises(UsageError, match=words):
        agent.start("bad", JobRequest(**{**vars(request), **change}))


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    with agent(tmp_path_factory.mktemp("attacked")) as process:
        yield process


@pytest.fixture
def attacker(attacked):
    """A raw connection of somebody who allows himself everything."""
    connection = rpyc.connect("127.0.0.1", attacked.port, config={"allow_all_attrs": True, "allow_pickle": True})
    yield connection
    connection.close()


class Touched:
    """An object that tells when the other side makes text, a number or anything else of it."""

    def __init__(self):
        self.by = []

    def _touch(self, *_):
        self.by.append("touched")
        return 7

    __len__ = __int__ = __index__ = __float__ = __bool__ = __eq__ = __lt__ = __gt__ = __getitem__ = _touch
    __str__ = __repr__ = __iter__ = __bytes__ = __call__ = __add__ = __contains__ = __enter__ = _touch
    __hash__ = object.__hash__


@pytest.mark.parametrize(
    "attribute",
    ["_agent", "__class__", "__dict__", "__init__", "_rpyc_getattr", "exposed_hello.__func__", "hello.__globals__",
     "hello.__self__", "hello.__wrapped__", "__reduce_ex__", "ALIASES", "on_connect"],
)  # fmt: skip
def test_no_attribute_leads_anywhere(attacker, attribute):
    *path, last = attribute.split(".")
    target = attacker.root
    for part in path:
        target = getattr(target, part)
    with pytest.raises(AttributeError):
        attacker.sync_request(consts.HANDLE_GETATTR, target, last)
    with pytest.raises(AttributeError):
        attacker.sync_request(consts.HANDLE_SETATTR, target, last, 1)
    with pytest.raises(AttributeError):
        attacker.sync_request(consts.HANDLE_DELATTR, target, last)
    with pytest.raises(AttributeError):
        attacker.sync_request(consts.HANDLE_CALLATTR, target, last, (), ())


def test_no_pickle_no_comparison_no_context(attacker):
    with pytest.raises(ValueError, match="pickling is disabled"):
        attacker.sync_request(consts.HANDLE_PICKLE, attacker.root, 2)
    with pytest.raises(AttributeError):
        attacker.sync_request(consts.HANDLE_CMP, attacker.root, attacker.root, "__reduce_ex__")
    with pytest.raises(Exception, match="__exit__|denied|cannot access"):
        attacker.sync_request(consts.HANDLE_CTXEXIT, attacker.root, None)


def test_an_object_as_an_argument_is_never_touched(attacker):
    lure = Touched()
    for method, arguments in (
        ("received", (lure, lure)),
        ("append", (lure, lure, lure, lure)),
        ("start", ("job", lure)),
        ("poll", (lure, lure)),
    ):
        told = json.loads(getattr(attacker.root, method)(*arguments))
        message = "arguments are text, bytes and numbers"
        assert told == {"error": "UsageError", "message": message, "remedy": ""}
    assert lure.by == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [("start", "x", "{"), ("start", "x", "[1]"), ("start", "x" * 200_000, "{}"), ("received", "../../etc/passwd", 1),
     ("received", 3, 1), ("poll", "x", float("nan")), ("hello", "too many"), ("append", "a" * 64, 0.5, 10, b"x"),
     ("result", "x"), ("start", "x", json.dumps({"task": "measure", "model": 1, "images": 2}))],
)  # fmt: skip
def test_nonsense_is_answered_and_the_agent_lives_on(attacker, attacked, arguments):
    method, *rest = arguments
    told = json.loads(getattr(attacker.root, method)(*rest))
    unknown = {"state": "unknown", "status": None, "ahead": 0, "failure": None}
    assert "error" in told or told["value"] in (0, unknown)
    with open_device(attacked.url) as device:
        assert len(device.predict(float_model(), make_images(1))) == 1


@pytest.mark.slow
def test_floods_of_connections_leave_no_thread_behind(attacked):
    before = psutil.Process(attacked.process.pid).num_threads()
    threads = [threading.Thread(target=lambda: rpyc.connect("127.0.0.1", attacked.port).close()) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_device(attacked.url) as device:
        np.testing.assert_array_equal(device.predict(float_model(), make_images(1)).shape, (1,))
        for _ in range(1000):  # they end a moment after their connections
            if psutil.Process(attacked.process.pid).num_threads() <= before + 3:
                return
            time.sleep(0.02)
    raise AssertionError("threads are left")
