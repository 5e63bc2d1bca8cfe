"""A device behind a wire: the other side of `edge.remote.agent`. A lost connection costs time, not a measurement."""

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from io import BytesIO
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import rpyc
from numpy.typing import NDArray
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from edge.devices.local import COOL_LIMIT_S, SLOWEST_IMAGE_S, START_ALLOWANCE_S, time_limit_s
from edge.devices.measuring_queue import WAITING
from edge.diagnostics import Finding
from edge.errors import UnavailableError, UsageError, one_line
from edge.measuring.attempts import measure_until_believed, weigh
from edge.measuring.measurement import Environment, Measurement
from edge.measuring.plan import MeasurePlan
from edge.meters.meter import Meter
from edge.records import build_record, error_from_dict
from edge.remote.agent import PROTOCOL, Request
from edge.runtime.tflite import check_header, check_images

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time

PIECE_BYTES = 1_000_000
RETRY_S = 60.0
"""How long a lost connection is sought again: a switch restarts in that time, and the agent keeps a job for longer."""
FIRST_CONTACT_S = 5.0
"""A host that has never answered is rather a wrong name than a lost connection."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
POLL_S = 5.0
CLOCK_TRIES = 5
MAX_STANDSTILLS = 3
CANCEL_S = 6.0
"""A poll may be in the way for POLL_S; on a dead line nobody hears it, and the job ends with its lease."""
LATE_S = 30.0
"""What a job may take longer than its own limit, after which the agent should have ended it."""
LOST = (EOFError, OSError)
"""What a lost connection raises: TimeoutError is an OSError, and so is what ssl and ssh raise."""


class Wire(Protocol):
    """A connection to an agent, as rpyc gives it."""

    root: Any

    def close(self) -> None: ...


class RemoteDevice:
    """The device behind an agent; `connect` opens a connection and raises OSError or EOFError when it cannot.

    `meter` is one that hangs on this host and stays the caller's; without it, one that hangs on the device is read
    there. `tell` hears what the device is doing with a job. Constructing it connects to nothing: `with` does.
    """

    def __init__(
        self,
        url: str,
        connect: Callable[[], Wire],
        meter: Meter | None = None,
        tell: Callable[[str], object] = lambda phase: None,
        retry_s: float = RETRY_S,
        first_contact_s: float = FIRST_CONTACT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self.meter = meter
        self._tell = tell
        self._connect, self._sleep = connect, sleep
        self._retry_s, self._first_contact_s = retry_s, first_contact_s
        self._wire: Wire | None = None
        self._met = False
        self.version = ""
        self._own_meter: dict[str, Any] | None = None

    def __enter__(self) -> "Self":
        hello = self._call("hello")
        if hello["protocol"] != PROTOCOL:
            raise UsageError(
                f"the agent at {self.url} is thrones {hello['version']} and speaks protocol "
                f"{hello['protocol']}, this host {PROTOCOL}",
                remedy="install the same version on both, with `thrones device setup`",
            )
        self.version = hello["version"]
        self._own_meter = hello["meter"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    @property
    def measures_power(self) -> bool:
        """See `edge.devices.device.Device.measures_power`."""
        return self.meter is not None or self._own_meter is not None

    @property
    def shortest_window_s(self) -> float:
        """See `edge.devices.device.Device.shortest_window_s`."""
        if self.meter is not None:
            return self.meter.shortest_window_s
        return 0.0 if self._own_meter is None else float(self._own_meter["shortest_window_s"])

    def check(self) -> list[Finding]:
        """What the device finds when it looks at itself, and at a meter that hangs on it; see `edge.diagnostics`."""
        return [build_record(Finding, finding) for finding in self._call("check")]

    def jobs(self) -> int:
        """See `edge.devices.device.Device.jobs`."""
        return int(self._call("hello").get("jobs", 0))  # an agent of an older version does not tell

    def environment(self) -> Environment:
        """See `edge.devices.device.Device.environment`."""
        return build_record(Environment, self._call("environment"))

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
        own = self._own_meter if self.meter is None else None
        wants_idle = not self.meter.estimated if self.meter is not None else bool(own and not own["estimated"])
        request = Request("measure", (), "", pixels, plan.to_dict(), wants_idle, weigh=own is not None)
        limit_s = time_limit_s(plan, len(images), START_ALLOWANCE_S, len(models)) + plan.idle_s
        if plan.cool_below_c is not None:
            limit_s += COOL_LIMIT_S

        def attempt() -> list[Measurement]:
            before = self._clock_ahead()
            told = json.loads(self._run(request, models, images, limit_s))
            measurements = [replace(Measurement.from_dict(each), device=self.url) for each in told]
            after = self._clock_ahead()
            meter = self.meter
            if meter is None:
                return measurements
            ahead_s = (before[0] + after[0]) / 2
            uncertain_s = max(before[1], after[1]) + abs(before[0] - after[0]) / 2
            return [weigh(measurement, meter, ahead_s, uncertain_s) for measurement in measurements]

        return measure_until_believed(attempt, plan, self._sleep)

    def predict(self, model: bytes, images: NDArray[np.uint8], pixels: str = "raw") -> NDArray[np.int64]:
        """See `edge.devices.device.Device.predict`."""
        check_header(model)
        check_images(images)
        limit_s = START_ALLOWANCE_S + len(images) * SLOWEST_IMAGE_S
        labels = self._run(Request("predict", (), "", pixels), [model], images, limit_s)
        return np.frombuffer(labels, np.uint8).astype(np.int64)

    def _run(
        self, request: Request, models: Sequence[bytes], images: NDArray[np.uint8], limit_s: float
    ) -> bytes:
        """The result of a job, asked for by its name until it is there, over as many connections as that takes."""
        name, contents = uuid.uuid4().hex, (*models, _npy(images))

        def begin() -> None:
            *uploads, uploaded_images = [self._upload(content) for content in contents]
            job = replace(request, models=uploads, images=uploaded_images)
            self._call("start", name, json.dumps(asdict(job)))

        running_since: float | None = None
        try:
            begin()
            while True:
                answer = self._call("poll", name, POLL_S)
                if answer["state"] in ("waiting", "running"):
                    ahead = answer["ahead"]
                    self._tell(f"waiting for {ahead} before it" if ahead else answer["phase"])
                if answer["state"] == "unknown":  # the agent was restarted
                    begin()
                    running_since = None
                elif answer["state"] == "done":
                    with suppress(UsageError):  # it was restarted just now: the next poll says so
                        return bytes(self._call("result", name))
                elif answer["state"] == "failed":
                    raise error_from_dict(answer["failure"])
                elif answer["state"] == "running" and answer["phase"] != WAITING:
                    running_since = running_since or time.monotonic()
                    if time.monotonic() - running_since > limit_s + LATE_S:
                        raise UnavailableError(
                            f"{self.url} has not ended a job in {limit_s:.0f} s",
                            remedy="is it overloaded?",
                        )
        except (KeyboardInterrupt, UnavailableError):
            self._cancel(name)
            raise

    def _cancel(self, name: str) -> None:
        """Free the device, if it can still be reached; else its lease ends by itself."""
        if self._wire is not None:
            with suppress(EOFError, OSError):
                rpyc.timed(self._wire.root.cancel, CANCEL_S)(name).wait()
            self.close()

    def _upload(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        received = self._call("received", sha256, len(content))
        standstills = 0
        while received < len(content):
            piece = content[received : received + PIECE_BYTES]
            before, received = received, self._call("append", sha256, received, len(content), piece)
            standstills += received <= before
            if standstills > MAX_STANDSTILLS:
                raise UnavailableError(
                    f"{self.url} does not keep what is sent",
                    remedy="empty its store, ~/.cache/thrones",
                )
        return sha256

    def _clock_ahead(self) -> tuple[float, float]:
        """How far this host's monotonic clock is ahead of the device's, in seconds, and to what it is known.

        The quickest of a few exchanges, as NTP does it: the device looked at its clock within that round trip.
        """
        best = (0.0, float("inf"))
        for _ in range(CLOCK_TRIES):
            sent_s = time.monotonic()
            device_s = self._call("clock")
            half_s = (time.monotonic() - sent_s) / 2
            if half_s < best[1]:
                best = (sent_s + half_s - device_s, half_s)
        return best

    def _call(self, method: str, *arguments: Any) -> Any:
        """An answer of the agent, over a new connection where the old one is lost.

        Raises what the agent tells, and UnavailableError with the first reason when it stays away for `retry_s`.
        """
        reasons: list[BaseException] = []

        def lost(state: RetryCallState) -> None:
            if state.outcome is not None:
                reasons.append(state.outcome.exception() or EOFError())
            self.close()

        retrying = Retrying(
            retry=retry_if_exception_type(LOST),
            stop=stop_after_delay(self._retry_s if self._met else self._first_contact_s),
            wait=wait_exponential(FIRST_PAUSE_S, LONGEST_PAUSE_S),
            sleep=self._sleep,
            after=lost,
            reraise=True,
        )
        try:
            answer = retrying(self._ask, method, *arguments)
        except LOST as error:
            raise UnavailableError(
                f"{self.url} does not answer ({one_line(reasons[0])})",
                remedy="is it on, and is its agent running? `thrones doctor` looks into it",
            ) from error
        self._met = True
        if isinstance(answer, bytes):
            return answer
        told = json.loads(answer)
        if "error" in told:
            raise error_from_dict(told)
        return told["value"]

    def _ask(self, method: str, *arguments: Any) -> Any:
        if self._wire is None:
            self._wire = self._connect()
        return getattr(self._wire.root, method)(*arguments)


def _npy(images: NDArray[np.uint8]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, images)
    return buffer.getvalue()
