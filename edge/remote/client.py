"""A device behind a wire: the other side of `edge.remote.agent`. A lost connection costs time, not a measurement."""

import json
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from io import BytesIO
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.diagnostics import Finding
from edge.errors import UnavailableError, UsageError
from edge.measuring.attempts import measure_until_trusted, weigh
from edge.measuring.measurement import Environment, Measurement
from edge.measuring.plan import MeasurePlan
from edge.measuring.status import DevicePhase, DeviceStatus, ignore
from edge.measuring.time_limits import MAX_COOLING_S, measuring_limit_s, predicting_limit_s
from edge.meters.meter import Meter
from edge.records import build_record, error_from_dict
from edge.remote.connection import FIRST_CONTACT_S, RETRY_S, Connection, Wire
from edge.remote.protocol import PROTOCOL, Hello, JobProgress, JobRequest, JobState, MeterInfo, Task
from edge.runtime.tflite import check_header, check_images

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time

POLL_S = 5.0
LATE_S = 30.0
"""What a job may take longer than its own limit, after which the agent should have ended it."""

MakeRequest = Callable[[Sequence[str], str], JobRequest]
"""Makes a request of the names that the models and the images have on the agent."""


class RemoteDevice:
    """The device behind an agent; `connect` opens a connection and raises OSError or EOFError when it cannot.

    `meter` is connected to this host and is the caller's to close; without it, one that is connected to the
    device is read there. `on_status` hears what the device is doing with a job. A `with` connects.
    """

    def __init__(
        self,
        url: str,
        connect: Callable[[], Wire],
        meter: Meter | None = None,
        on_status: Callable[[DeviceStatus], object] = ignore,
        retry_s: float = RETRY_S,
        first_contact_s: float = FIRST_CONTACT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self.meter = meter
        self.version = ""
        self.connection = Connection(url, connect, retry_s, first_contact_s, sleep)
        self._on_status = on_status
        self._sleep = sleep
        self._own_meter: MeterInfo | None = None

    def __enter__(self) -> "Self":
        answer = self.connection.call("hello")
        if answer["protocol"] != PROTOCOL:  # before the rest is read, which may have another form
            raise UsageError(
                f"the agent at {self.url} is thrones {answer['version']} and speaks protocol "
                f"{answer['protocol']}, this host {PROTOCOL}",
                remedy="install the same version on both, with `thrones device setup`",
            )
        hello = Hello.from_dict(answer)
        self.version = hello.version
        self._own_meter = hello.meter
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @property
    def measures_power(self) -> bool:
        """See `edge.devices.device.Device.measures_power`."""
        return self.meter is not None or self._own_meter is not None

    @property
    def shortest_window_s(self) -> float:
        """See `edge.devices.device.Device.shortest_window_s`."""
        meter = self.meter or self._own_meter
        return 0.0 if meter is None else meter.shortest_window_s

    def check(self) -> list[Finding]:
        """Return what the device finds when it checks itself and its own meter; see `edge.diagnostics`."""
        return [build_record(Finding, finding) for finding in self.connection.call("check")]

    def jobs(self) -> int:
        """See `edge.devices.device.Device.jobs`."""
        return Hello.from_dict(self.connection.call("hello")).jobs

    def environment(self) -> Environment:
        """See `edge.devices.device.Device.environment`."""
        return build_record(Environment, self.connection.call("environment"))

    def measure(
        self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> Measurement:
        """See `edge.devices.device.Device.measure`."""
        return self.measure_in_turns([model], plan, images, pixels)[0]

    def measure_in_turns(
        self, models: Sequence[bytes], plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> list[Measurement]:
        """See `edge.devices.device.Device.measure_in_turns`."""
        for model in models:
            check_header(model)
        check_images(images)
        meter = self.meter or self._own_meter
        wants_idle = meter is not None and not meter.estimated
        weighs_there = self.meter is None and self._own_meter is not None

        def request(models: Sequence[str], images: str) -> JobRequest:
            return JobRequest(Task.MEASURE, models, images, pixels, plan.to_dict(), wants_idle, weighs_there)

        limit_s = measuring_limit_s(plan, len(images), models=len(models)) + plan.idle_s
        if plan.cool_below_c is not None:
            limit_s += MAX_COOLING_S

        def attempt() -> list[Measurement]:
            ahead_before_s, uncertain_before_s = self.connection.clock_ahead()
            answer = json.loads(self._run(request, models, images, limit_s))
            measurements = [replace(Measurement.from_dict(each), device=self.url) for each in answer]
            ahead_after_s, uncertain_after_s = self.connection.clock_ahead()
            meter = self.meter
            if meter is None:
                return measurements
            ahead_s = (ahead_before_s + ahead_after_s) / 2
            drift_s = abs(ahead_before_s - ahead_after_s)
            uncertain_s = max(uncertain_before_s, uncertain_after_s) + drift_s / 2
            return [weigh(measurement, meter, ahead_s, uncertain_s) for measurement in measurements]

        return measure_until_trusted(attempt, plan, self._sleep)

    def predict(self, model: bytes, images: NDArray[np.uint8], pixels: str = "raw") -> NDArray[np.int64]:
        """See `edge.devices.device.Device.predict`."""
        check_header(model)
        check_images(images)

        def request(models: Sequence[str], images: str) -> JobRequest:
            return JobRequest(Task.PREDICT, models, images, pixels)

        labels = self._run(request, [model], images, predicting_limit_s(len(images)))
        return np.frombuffer(labels, np.uint8).astype(np.int64)

    def _run(
        self, request: MakeRequest, models: Sequence[bytes], images: NDArray[np.uint8], limit_s: float
    ) -> bytes:
        """Start a job and poll it until its result is there, over as many connections as that takes."""
        job = uuid.uuid4().hex
        contents = (*models, npy_bytes(images))
        running_since_s: float | None = None
        try:
            self._start(job, request, contents)
            while True:
                progress = JobProgress.from_dict(self.connection.call("poll", job, POLL_S))
                self._report(progress)
                if progress.state is JobState.UNKNOWN:  # the agent was restarted
                    self._start(job, request, contents)
                    running_since_s = None
                elif progress.state is JobState.DONE:
                    with suppress(UsageError):  # it was restarted just now: the next poll says so
                        return bytes(self.connection.call("result", job))
                elif progress.failure is not None:
                    raise error_from_dict(progress.failure)
                elif _is_at_work(progress):
                    running_since_s = running_since_s or time.monotonic()
                    if time.monotonic() - running_since_s > limit_s + LATE_S:
                        raise UnavailableError(
                            f"{self.url} has not ended a job in {limit_s:.0f} s", remedy="is it overloaded?"
                        )
        except (KeyboardInterrupt, UnavailableError):
            self.connection.cancel(job)
            raise

    def _start(self, job: str, request: MakeRequest, contents: Sequence[bytes]) -> None:
        *models, images = [self.connection.upload(content) for content in contents]
        self.connection.call("start", job, json.dumps(asdict(request(models, images))))

    def _report(self, progress: JobProgress) -> None:
        if progress.ahead:
            self._on_status(DeviceStatus(DevicePhase.WAITING, f"waiting for {progress.ahead} before it"))
        elif progress.state.is_open and progress.status is not None:
            self._on_status(progress.status)


def _is_at_work(progress: JobProgress) -> bool:
    """True while the device itself is busy with the job, and does not wait for others."""
    if progress.state is not JobState.RUNNING or progress.status is None:
        return False
    return progress.status.phase is not DevicePhase.WAITING


def npy_bytes(images: NDArray[np.uint8]) -> bytes:
    """Return the images as the bytes of an .npy file."""
    buffer = BytesIO()
    np.save(buffer, images)
    return buffer.getvalue()
