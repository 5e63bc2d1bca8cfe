"""The agent: what a host may request of this device over rpyc. Only JSON text and bytes cross the wire.

Every answer is JSON, but for the bytes of `result`: {"value": ...}, or the error as in
`edge.records.error_to_dict`. One job runs at a time, the others wait in turn. A host polls its job every
few seconds. A job that was not polled for LEASE_S is given up, so that a host that died does not hold the
device. A host that lost its network for a while fetches the result by the job's id.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from typing import Any

import numpy as np
import rpyc

from edge.devices.local import LocalDevice
from edge.diagnostics import check_device, listen
from edge.errors import UnavailableError, UsageError
from edge.measuring.plan import MeasurePlan
from edge.meters.meter import Meter
from edge.records import build_record, error_to_dict
from edge.remote.uploads import Store
from edge.runtime.preprocessing import check_pixels

PROTOCOL = 2
LEASE_S = 90.0
KEPT_JOBS = 16
MAX_POLL_S = 10.0
MAX_TEXT = 100_000
MAX_MODELS = 16


@dataclass(frozen=True)
class Request:
    """A job as the host sends it: `models` and `images` are the sha256 of uploads, `task` is measure or predict.

    models: several are measured in turns; one is predicted with. weigh: whether the device's own meter gives the
    power; idle: whether the device stands idle before, for that or for a meter of the host's.
    """

    task: str
    models: Sequence[str]
    images: str
    pixels: str = "raw"
    plan: dict[str, Any] | None = None
    idle: bool = False
    weigh: bool = False


@dataclass
class Job:
    """A job and how far it is: waiting, running, done or failed."""

    request: Request
    seen_s: float
    state: str = "waiting"
    result: bytes = b""
    failure: dict[str, str] = field(default_factory=dict)
    device: LocalDevice | None = None


class Agent:
    """The jobs of all hosts; a thread of its own works them off. Use it in a `with`."""

    def __init__(self, store: Store, meter: Meter | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.meter, self._clock = store, meter, clock
        self._jobs: dict[str, Job] = {}  # in the order of their arrival
        self._changed = threading.Condition()
        self._open = True
        self._worker = threading.Thread(target=self._work, name="agent worker", daemon=True)

    def __enter__(self) -> "Agent":
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._open = False
            for job in self._jobs.values():
                self._give_up(job, "the agent is being stopped")
            self._changed.notify_all()
        self._worker.join()

    def start(self, name: str, request: Request) -> None:
        """Take a job; one of this name that is there already stays, so that a lost answer can be asked for again."""
        if request.task not in ("measure", "predict"):
            raise UsageError(f"task {request.task!r} is neither measure nor predict")
        if request.task == "measure":
            MeasurePlan.from_dict(request.plan or {})
        check_pixels(request.pixels)
        if isinstance(request.models, str) or not 1 <= len(request.models) <= MAX_MODELS:
            raise UsageError(f"models must be a list of 1 to {MAX_MODELS}, got {str(request.models)[:40]!r}")
        for sha256 in (*request.models, request.images):
            self.store.path(sha256)
        with self._changed:
            if name not in self._jobs:
                self._jobs[name] = Job(request, self._clock())
                self._forget()
                self._changed.notify_all()

    def poll(self, name: str, wait_s: float) -> dict[str, Any]:
        """How far a job is, after at most `wait_s` seconds or when it has ended; asking keeps it alive.

        The state of a job from before the agent was restarted is "unknown": start it again.
        """
        with self._changed:
            if name not in self._jobs:
                return {"state": "unknown"}
            job = self._jobs[name]
            job.seen_s = self._clock()
            self._changed.wait_for(lambda: job.state in ("done", "failed"), min(max(wait_s, 0.0), MAX_POLL_S))
            job.seen_s = self._clock()
            ahead = 0
            if job.state == "waiting":
                earlier = takewhile(lambda other: other is not job, self._jobs.values())
                ahead = sum(other.state in ("waiting", "running") for other in earlier)
            phase = job.device.phase if job.device else job.state
            return {"state": job.state, "phase": phase, "ahead": ahead, "failure": job.failure or None}

    def result(self, name: str) -> bytes:
        """The measurements as a JSON list, or one byte a label."""
        with self._changed:
            job = self._find(name)
            if job.state != "done":
                raise UsageError(f"job {name} is {job.state}; its result comes when it is done")
            return job.result

    def cancel(self, name: str) -> None:
        """End a job, whether it waits or runs."""
        with self._changed:
            self._give_up(self._find(name), "cancelled by the host")
            self._changed.notify_all()

    def jobs(self) -> int:
        """How many wait or run."""
        with self._changed:
            return sum(job.state in ("waiting", "running") for job in self._jobs.values())

    def give_up_abandoned(self) -> None:
        """End the jobs for which no host has asked for LEASE_S."""
        with self._changed:
            for job in self._jobs.values():
                if self._clock() - job.seen_s > LEASE_S:
                    self._give_up(job, f"no host has asked for this job for {LEASE_S:g} s")
            self._changed.notify_all()

    def _find(self, name: str) -> Job:
        if name not in self._jobs:
            raise UsageError(f"no job {name[:40]!r} on this device", remedy="start it again")
        return self._jobs[name]

    def _give_up(self, job: Job, reason: str) -> None:
        if job.state not in ("waiting", "running"):
            return
        job.state, job.failure = "failed", error_to_dict(UnavailableError(reason))
        if job.device is not None:
            job.device.cancel()

    def _forget(self) -> None:
        ended = [name for name, job in self._jobs.items() if job.state in ("done", "failed")]
        for name in ended[:-KEPT_JOBS]:
            del self._jobs[name]

    def _work(self) -> None:
        while True:
            with self._changed:
                job = next((job for job in self._jobs.values() if job.state == "waiting"), None)
                if not self._open:
                    return
                if job is None:
                    self._changed.wait()
                    continue
                job.state, job.device = "running", LocalDevice(self.meter if job.request.weigh else None)
            try:
                outcome: tuple[str, bytes, dict[str, str]] = ("done", self._run(job.request, job.device), {})
            except Exception as error:  # noqa: BLE001  whatever it is, the host is told and the next job runs
                outcome = ("failed", b"", error_to_dict(error))
            with self._changed:
                if job.state == "running":  # else it was given up meanwhile, for a reason that stays
                    job.state, job.result, job.failure = outcome
                job.device = None
                self._changed.notify_all()

    def _run(self, request: Request, device: LocalDevice) -> bytes:
        try:
            models = [self.store.path(sha256).read_bytes() for sha256 in request.models]
            images = np.load(self.store.path(request.images), mmap_mode="r", allow_pickle=False)
        except UsageError as error:  # they were here when the job was taken
            raise UnavailableError(
                f"uploads went while the job waited ({error})",
                remedy="is the store too small?",
            ) from error
        if request.task == "predict":
            return device.predict(models[0], images, request.pixels).astype(np.uint8).tobytes()
        plan = MeasurePlan.from_dict(request.plan or {})
        measurements = device.attempt(models, plan, images, request.idle, request.pixels)
        return json.dumps([asdict(measurement) for measurement in measurements], allow_nan=False).encode()


def _answers(method: Callable[..., Any]) -> Callable[..., str | bytes]:
    """The envelope of an exposed method: plain arguments only, errors told and not raised."""

    @wraps(method)
    def answer(self: Any, *arguments: Any) -> str | bytes:
        try:
            for argument in arguments:  # a netref would let the peer's code run when it is touched
                if type(argument) not in (str, bytes, int, float):
                    raise UsageError("arguments are text, bytes and numbers")
                if type(argument) is str and len(argument) > MAX_TEXT:
                    raise UsageError(f"text of {len(argument)} characters; the limit is {MAX_TEXT}")
            value = method(self, *arguments)
        except Exception as error:  # noqa: BLE001  a peer's bad request must not end the connection
            return json.dumps(error_to_dict(error))
        return value if isinstance(value, bytes) else json.dumps({"value": value})

    return answer


class AgentService(rpyc.Service):  # type: ignore[misc]  # rpyc is untyped
    """The methods that a host can call; see `edge.remote.client` for the other side."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    @_answers
    def exposed_hello(self) -> dict[str, Any]:
        """Who is there: protocol, version, how many jobs, the meter that hangs on this device."""
        meter = self._agent.meter
        return {
            "protocol": PROTOCOL,
            "version": installed_version(),
            "jobs": self._agent.jobs(),
            "meter": None
            if meter is None
            else {"url": meter.url, "estimated": meter.estimated, "shortest_window_s": meter.shortest_window_s},
        }

    @_answers
    def exposed_environment(self) -> dict[str, Any]:
        """See `edge.measuring.measurement.Environment`."""
        return asdict(LocalDevice().environment())

    @_answers
    def exposed_check(self) -> list[dict[str, str]]:
        """See `edge.diagnostics`: this device, and the meter that hangs on it."""
        findings = check_device()
        if self._agent.meter is not None:
            findings += listen(self._agent.meter)
        return [asdict(finding) for finding in findings]

    @_answers
    def exposed_clock(self) -> float:
        """CLOCK_MONOTONIC of this device in seconds."""
        return time.monotonic()

    @_answers
    def exposed_received(self, sha256: str, total: int) -> int:
        """See `edge.remote.uploads.Store.received`."""
        return self._agent.store.received(sha256, total)

    @_answers
    def exposed_append(self, sha256: str, offset: int, total: int, piece: bytes) -> int:
        """See `edge.remote.uploads.Store.append`."""
        return self._agent.store.append(sha256, offset, total, piece)

    @_answers
    def exposed_start(self, name: str, request: str) -> None:
        """Take the job `name`; `request` is a `Request` as JSON."""
        self._agent.start(name, build_record(Request, json.loads(request)))

    @_answers
    def exposed_poll(self, name: str, wait_s: float) -> dict[str, Any]:
        """See `Agent.poll`."""
        return self._agent.poll(name, wait_s)

    @_answers
    def exposed_result(self, name: str) -> bytes:
        """See `Agent.result`."""
        return self._agent.result(name)

    @_answers
    def exposed_cancel(self, name: str) -> None:
        """See `Agent.cancel`."""
        self._agent.cancel(name)


def installed_version() -> str:
    """The version of thrones on this machine."""
    try:
        return version("thrones")
    except PackageNotFoundError:
        return "not installed"
