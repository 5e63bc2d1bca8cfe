"""The agent: the jobs of all hosts, worked off one at a time on this device.

A host polls its job every few seconds. A job that was not polled for LEASE_S is given up, so that a host
that died does not hold the device. A host that lost its network for a while fetches the result by the
job's id.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import takewhile

import numpy as np

from edge.devices.local import LocalDevice
from edge.errors import UnavailableError, UsageError
from edge.measuring.status import READY, DevicePhase, DeviceStatus
from edge.meters.meter import Meter
from edge.records import error_to_dict
from edge.remote.protocol import JobProgress, JobRequest, JobState, Task
from edge.remote.uploads import Store

LEASE_S = 90.0
MAX_KEPT_JOBS = 16
MAX_POLL_S = 10.0
_WAITING = DeviceStatus(DevicePhase.WAITING, "waiting for other jobs")


@dataclass
class Job:
    """A job, how far it is, and the device that runs it while it runs."""

    request: JobRequest
    polled_s: float
    state: JobState = JobState.WAITING
    result: bytes = b""
    failure: dict[str, str] = field(default_factory=dict)
    device: LocalDevice | None = None

    @property
    def status(self) -> DeviceStatus:
        if self.device is not None:
            return self.device.status
        return _WAITING if self.state.is_open else READY


class Agent:
    """The jobs of all hosts; a thread of its own works them off. Use it in a `with`."""

    def __init__(self, store: Store, meter: Meter | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self.meter = meter
        self._clock = clock
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

    def start(self, name: str, request: JobRequest) -> None:
        """Take a job; one of this name is kept, so that a host may repeat the call when an answer was lost.

        Raises UsageError where an upload is missing.
        """
        for sha256 in (*request.models, request.images):
            self.store.path(sha256)
        with self._changed:
            if name not in self._jobs:
                self._jobs[name] = Job(request, self._clock())
                self._forget()
                self._changed.notify_all()

    def poll(self, name: str, wait_s: float) -> JobProgress:
        """Return how far a job is, after at most `wait_s` seconds or when it has ended; this keeps it alive."""
        with self._changed:
            if name not in self._jobs:
                return JobProgress(JobState.UNKNOWN)
            job = self._jobs[name]
            job.polled_s = self._clock()
            self._changed.wait_for(lambda: not job.state.is_open, min(max(wait_s, 0.0), MAX_POLL_S))
            job.polled_s = self._clock()
            ahead = 0
            if job.state is JobState.WAITING:
                earlier = takewhile(lambda other: other is not job, self._jobs.values())
                ahead = sum(other.state.is_open for other in earlier)
            return JobProgress(job.state, job.status, ahead, job.failure or None)

    def result(self, name: str) -> bytes:
        """Return the measurements as a JSON list, or the labels, one byte each."""
        with self._changed:
            job = self._find(name)
            if job.state is not JobState.DONE:
                raise UsageError(f"job {name} is {job.state}; its result comes when it is done")
            return job.result

    def cancel(self, name: str) -> None:
        """End a job, waiting or running."""
        with self._changed:
            self._give_up(self._find(name), "cancelled by the host")
            self._changed.notify_all()

    def jobs(self) -> int:
        """Return how many jobs wait or run."""
        with self._changed:
            return sum(job.state.is_open for job in self._jobs.values())

    def give_up_abandoned(self) -> None:
        """End the jobs that no host has polled for LEASE_S."""
        with self._changed:
            for job in self._jobs.values():
                if self._clock() - job.polled_s > LEASE_S:
                    self._give_up(job, f"no host has asked for this job for {LEASE_S:g} s")
            self._changed.notify_all()

    def _find(self, name: str) -> Job:
        if name not in self._jobs:
            raise UsageError(f"no job {name[:40]!r} on this device", remedy="start it again")
        return self._jobs[name]

    def _give_up(self, job: Job, reason: str) -> None:
        if not job.state.is_open:
            return
        job.state = JobState.FAILED
        job.failure = error_to_dict(UnavailableError(reason))
        if job.device is not None:
            job.device.cancel()

    def _forget(self) -> None:
        ended = [name for name, job in self._jobs.items() if not job.state.is_open]
        for name in ended[:-MAX_KEPT_JOBS]:
            del self._jobs[name]

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._open:
                    return
                job = self._next_job()
                if job is None:
                    self._changed.wait()
                    continue
                device = LocalDevice(self.meter if job.request.weigh else None)
                job.state = JobState.RUNNING
                job.device = device
            result, failure = b"", {}
            try:
                result = self._run(job.request, device)
            except Exception as error:  # noqa: BLE001  the host gets the error, and the next job runs
                failure = error_to_dict(error)
            with self._changed:
                if job.state is JobState.RUNNING:  # else it was given up meanwhile, for a reason that counts
                    job.state = JobState.FAILED if failure else JobState.DONE
                    job.result = result
                    job.failure = failure
                job.device = None
                self._changed.notify_all()

    def _next_job(self) -> Job | None:
        for job in self._jobs.values():
            if job.state is JobState.WAITING:
                return job
        return None

    def _run(self, request: JobRequest, device: LocalDevice) -> bytes:
        try:
            models = [self.store.path(sha256).read_bytes() for sha256 in request.models]
            images = np.load(self.store.path(request.images), mmap_mode="r", allow_pickle=False)
        except UsageError as error:  # they were here when the job was taken
            message = f"uploads were removed while the job waited ({error.message})"
            raise UnavailableError(message, remedy="is the store too small?") from error
        if request.task == Task.PREDICT:
            return device.predict(models[0], images, request.pixels).astype(np.uint8).tobytes()
        plan = request.measure_plan()
        measurements = device.attempt(models, plan, images, request.idle, request.pixels)
        return json.dumps([asdict(measurement) for measurement in measurements], allow_nan=False).encode()
