"""What is asked of a device (`MeasurePlan`) and what it returns (`Measurement`), raw windows and all."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Any, TypeVar

import numpy as np

from edge.errors import UsageError

_T = TypeVar("_T")

# Printed beside the numbers: the competition defines none of these, so each figure carries its own
# definition.
DEFINITIONS: dict[str, str] = {
    "latency_ms": "Median over the windows of the mean time inside interpreter.invoke(), image by image.",
    "mean_ms": "Mean time inside interpreter.invoke() over every image of every window.",
    "p90_ms": "Median over the windows of the 90th percentile of the single invoke() times.",
    "spread": "Interquartile range of the windows' mean invoke() times over their median.",
    "image_ms": "Median over the windows of length / images: set the input, invoke(), get the output.",
    "power_w": "Median over the windows of the mean power drawn by the whole device inside the window.",
    "max_power_w": "Largest power reading inside any window.",
    "energy_mj": "Median over the windows of mean power x length / images; gross, idle power not subtracted.",
    "peak_memory_mb": "Peak resident set of a fresh child process that loads and runs this one model,"
    " Python and the runtime included, test images excluded; 1 MB = 10^6 bytes.",
    "memory_growth_mb": "Peak resident set minus that just before the model was loaded; 1 MB = 10^6 bytes.",
    "load_ms": "Time to build the interpreter from the model's file and allocate its tensors.",
    "model_bytes": "Size of the .tflite file.",
}


def _check_number(key: str, value: object, *, positive: bool) -> None:
    limit = "> 0" if positive else ">= 0"
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise UsageError(f"{key} must be a number, got {value!r}")
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise UsageError(f"{key} must be {limit} and finite, got {value}")


@dataclass(frozen=True)
class MeasurePlan:
    """How long and how often: an uncounted warm-up, then windows of at least `window_s` each.

    Windows go on until there are at least `windows` of them and, together, at least `passes` whole passes
    over the images. `max_spread` is the largest `Measurement.spread` accepted. Raises UsageError when a value
    makes no sense.
    """

    name: str
    warmup_s: float
    windows: int
    window_s: float
    passes: int = 0
    threads: int = 1
    max_spread: float = 0.5

    def __post_init__(self) -> None:
        for key, least in (("windows", 1), ("passes", 0), ("threads", 1)):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool):
                raise UsageError(f"{key} must be a whole number, got {value!r}")
            if value < least:
                raise UsageError(f"{key} must be >= {least}, got {value}")
        _check_number("warmup_s", self.warmup_s, positive=False)
        _check_number("window_s", self.window_s, positive=True)
        _check_number("max_spread", self.max_spread, positive=True)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-safe dict of all fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "MeasurePlan":
        """Inverse of `to_dict`. Raises UsageError for unknown or missing keys and bad values."""
        return build_record(cls, data)


PLANS: dict[str, MeasurePlan] = {
    "search": MeasurePlan("search", warmup_s=0.1, windows=10, window_s=0.1, max_spread=0.5),
    "short": MeasurePlan("short", warmup_s=0.5, windows=5, window_s=1.0, max_spread=0.3),
    "final": MeasurePlan("final", warmup_s=1.0, windows=5, window_s=10.0, passes=3, max_spread=0.2),
}


@dataclass(frozen=True)
class Window:
    """Images back to back. Times are CLOCK_MONOTONIC seconds; p50 and p90 are of single invokes."""

    start_s: float
    end_s: float
    images: int
    invoke_s: float
    p50_ms: float
    p90_ms: float
    power_w: float | None = None
    max_power_w: float | None = None

    def __post_init__(self) -> None:
        if self.images < 1:
            raise UsageError(f"a window's images must be >= 1, got {self.images}")
        if not self.end_s > self.start_s:
            raise UsageError(f"a window must end after its start, got {self.start_s} to {self.end_s}")
        for key in ("invoke_s", "p50_ms", "p90_ms"):
            _check_number(key, getattr(self, key), positive=False)
        if (self.power_w is None) != (self.max_power_w is None):
            raise UsageError("a window has both power_w and max_power_w or neither")
        for key in ("power_w", "max_power_w"):
            if getattr(self, key) is not None:
                _check_number(key, getattr(self, key), positive=False)

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def mean_ms(self) -> float:
        """Mean time inside invoke()."""
        return self.invoke_s / self.images * 1e3

    @property
    def energy_mj(self) -> float | None:
        """Gross energy for one image: W x s = J, times 1000."""
        return None if self.power_w is None else self.power_w * self.length_s / self.images * 1e3


@dataclass(frozen=True)
class Environment:
    """Where a measurement was taken; None where the machine does not tell.

    `throttled` is the Raspberry Pi firmware's word, such as "0x50005"; `temperature_c` and `clock_mhz` are
    read just after the last window, while the processor is still warm and at speed.
    """

    host: str
    machine: str
    cpu: str
    cores: int
    os: str
    python: str
    runtime: str
    delegate: str | None
    governor: str | None
    clock_mhz: float | None
    temperature_c: float | None
    throttled: str | None


@dataclass(frozen=True)
class Measurement:
    """All windows of one model on one device, raw; what is printed is derived from them (`DEFINITIONS`).

    `estimated` is True when the power comes from no meter but from an assumption: then power and energy are
    estimates.
    """

    sha256: str
    model_bytes: int
    plan: MeasurePlan
    windows: tuple[Window, ...]
    peak_memory_mb: float
    memory_growth_mb: float
    load_ms: float
    environment: Environment
    device: str
    meter: str
    estimated: bool

    def __post_init__(self) -> None:
        if not self.windows:
            raise UsageError("a measurement needs at least one window, got 0")
        if len({window.power_w is None for window in self.windows}) > 1:
            raise UsageError("either every window of a measurement has a power or none has")
        for key in ("peak_memory_mb", "memory_growth_mb", "load_ms"):
            _check_number(key, getattr(self, key), positive=False)

    @property
    def latency_ms(self) -> float:
        return median(window.mean_ms for window in self.windows)

    @property
    def mean_ms(self) -> float:
        return sum(w.invoke_s for w in self.windows) / sum(w.images for w in self.windows) * 1e3

    @property
    def p90_ms(self) -> float:
        return median(window.p90_ms for window in self.windows)

    @property
    def spread(self) -> float:
        """Interquartile range of the window means over their median.

        Not largest minus smallest: on a shared machine one window in five is hit by a neighbour, and the
        median, which is what is reported, does not feel that one.
        """
        low, high = np.percentile([window.mean_ms for window in self.windows], [25, 75])
        return float(high - low) / self.latency_ms

    @property
    def image_ms(self) -> float:
        return median(window.length_s / window.images for window in self.windows) * 1e3

    @property
    def power_w(self) -> float | None:
        values = [window.power_w for window in self.windows if window.power_w is not None]
        return median(values) if values else None

    @property
    def max_power_w(self) -> float | None:
        return max((w.max_power_w for w in self.windows if w.max_power_w is not None), default=None)

    @property
    def energy_mj(self) -> float | None:
        values = [energy for window in self.windows if (energy := window.energy_mj) is not None]
        return median(values) if values else None

    def to_json(self) -> str:
        """One line of JSON, the raw windows included; floats keep every digit."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Measurement":
        """Exact inverse of `to_json`. Raises UsageError when `text` is no stored measurement."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise UsageError(f"not a stored measurement: {error}") from error
        if not isinstance(data, dict) or not isinstance(data.get("windows"), list):
            raise UsageError("not a stored measurement: an object with a list of windows is needed")
        nested = {
            "plan": MeasurePlan.from_dict(data.get("plan", {})),
            "windows": tuple(build_record(Window, window) for window in data["windows"]),
            "environment": build_record(Environment, data.get("environment", {})),
        }
        return build_record(cls, {**data, **nested})


def build_record(cls: Callable[..., _T], data: object) -> _T:
    """The dataclass `cls` from its fields. Raises UsageError for unknown or missing keys and bad values."""
    name = getattr(cls, "__name__", "record")
    if not isinstance(data, Mapping):
        raise UsageError(f"{name} must be an object, got {type(data).__name__}")
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # every caller passes a dataclass
    for key in data:
        if key not in known:
            raise UsageError(f"unknown key {key!r} in {name}; known: {', '.join(known)}")
    try:
        return cls(**data)
    except TypeError as error:
        raise UsageError(f"not a valid {name}: {error}") from error
