"""The records that cross the wire between a host and an agent, as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from edge.errors import UsageError
from edge.measuring.plan import MeasurePlan
from edge.measuring.status import DevicePhase, DeviceStatus
from edge.records import build_record
from edge.runtime.preprocessing import check_pixels

PROTOCOL = 3
MAX_MODELS = 16


class Task(str, Enum):
    """What a job does."""

    MEASURE = "measure"
    PREDICT = "predict"

    __str__ = str.__str__


class JobState(str, Enum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The agent does not know the job: it was restarted since, so start the job again."""

    __str__ = str.__str__

    @property
    def is_open(self) -> bool:
        """True while the job waits or runs."""
        return self in (JobState.WAITING, JobState.RUNNING)


@dataclass(frozen=True)
class JobRequest:
    """A job as the host sends it. Raises UsageError for values that make no sense.

    models: sha256 of uploads; several are measured in turns, one is predicted with.
    images: sha256 of an upload, an .npy.
    plan: the fields of a `MeasurePlan`; None for a prediction.
    idle: the device rests before, for its own meter or for one of the host.
    weigh: the device's own meter gives the power.
    """

    task: Task
    models: Sequence[str]
    images: str
    pixels: str = "raw"
    plan: dict[str, Any] | None = None
    idle: bool = False
    weigh: bool = False

    def __post_init__(self) -> None:
        if self.task not in list(Task):
            raise UsageError(f"task {self.task!r} is neither measure nor predict")
        if self.task == Task.MEASURE:
            self.measure_plan()
        check_pixels(self.pixels)
        if isinstance(self.models, str) or not 1 <= len(self.models) <= MAX_MODELS:
            shown = str(self.models)[:40]
            raise UsageError(f"models must be a list of 1 to {MAX_MODELS}, got {shown!r}")

    def measure_plan(self) -> MeasurePlan:
        """Return the plan. Raises UsageError for bad fields."""
        return MeasurePlan.from_dict(self.plan or {})


@dataclass(frozen=True)
class JobProgress:
    """The answer to a poll. `ahead` jobs come before this one; `failure` is an `error_to_dict`."""

    state: JobState
    status: DeviceStatus | None = None
    ahead: int = 0
    failure: dict[str, str] | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "JobProgress":
        """Return the inverse of `dataclasses.asdict`, as the wire brings it."""
        status = data["status"]
        if status is not None:
            status = DeviceStatus(DevicePhase(status["phase"]), status["text"])
        return cls(JobState(data["state"]), status, data["ahead"], data["failure"])


@dataclass(frozen=True)
class MeterInfo:
    """The power meter that is connected to the device."""

    url: str
    estimated: bool
    shortest_window_s: float


@dataclass(frozen=True)
class Hello:
    """Who an agent is: the protocol and the version of thrones that it runs, its open jobs, its meter."""

    protocol: int
    version: str
    jobs: int
    meter: MeterInfo | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Hello":
        """Return the inverse of `dataclasses.asdict`, as the wire brings it."""
        meter = None
        if data["meter"] is not None:
            meter = build_record(MeterInfo, data["meter"])
        return cls(data["protocol"], data["version"], data["jobs"], meter)
