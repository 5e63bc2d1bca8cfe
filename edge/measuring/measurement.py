"""The measurement of a model by a plan: every window raw, figures derived on reading."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from edge.errors import UsageError
from edge.measuring.plan import MeasurePlan
from edge.records import build_record, check_number

# Printed beside the numbers: the competition defines none of these, so each figure has its own definition.
DEFINITIONS: dict[str, str] = {
    "latency_ms": "Median over the windows of the mean time inside interpreter.invoke(), image by image.",
    "mean_ms": "Mean time inside interpreter.invoke() over every image of every window.",
    "p90_ms": "Median over the windows of the 90th percentile of the single invoke() times.",
    "spread": "Interquartile range of the windows' mean invoke() times over their median.",
    "image_ms": "Median over the windows of length / images: set the input, invoke(), get the output.",
    "power_w": "Median over the windows of the mean power drawn by the whole device inside the window.",
    "max_power_w": "Largest power reading inside any window.",
    "energy_mj": "Median over the windows of mean power x length / images; gross, idle power not subtracted.",
    "idle_power_w": "Mean power of the whole device at rest, just before the model was loaded.",
    "net_energy_mj": "energy_mj without what the device at rest would have drawn in that time.",
    "peak_memory_mb": "Peak resident set of a fresh child process that loads and runs this one model,"
    " Python and the runtime included, test images excluded; 1 MB = 10^6 bytes.",
    "memory_growth_mb": "Peak resident set minus that just before the model was loaded; 1 MB = 10^6 bytes.",
    "load_ms": "Time to build the interpreter from the model's file and allocate its tensors.",
    "model_bytes": "Size of the model's file.",
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
            check_number(key, getattr(self, key), positive=False)
        if (self.power_w is None) != (self.max_power_w is None):
            raise UsageError("a window has both power_w and max_power_w or neither")
        for key in ("power_w", "max_power_w"):
            if getattr(self, key) is not None:
                check_number(key, getattr(self, key), positive=False)

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def mean_ms(self) -> float:
        """Return the mean time inside invoke()."""
        return self.invoke_s / self.images * 1e3

    @property
    def energy_mj(self) -> float | None:
        """Return the gross energy for one image: W x s = J, times 1000."""
        if self.power_w is None:
            return None
        return self.power_w * self.length_s / self.images * 1e3


@dataclass(frozen=True)
class Idle:
    """A stretch of rest before the model was loaded; times are CLOCK_MONOTONIC seconds."""

    start_s: float
    end_s: float
    power_w: float | None = None
    max_power_w: float | None = None

    def __post_init__(self) -> None:
        if not self.end_s > self.start_s:
            raise UsageError(f"a rest must end after its start, got {self.start_s} to {self.end_s}")
        for key in ("power_w", "max_power_w"):
            if getattr(self, key) is not None:
                check_number(key, getattr(self, key), positive=False)


@dataclass(frozen=True)
class Attempt:
    """An attempt that was not trusted, why, and its windows (none where it broke off before they were weighed)."""

    fault: str
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True)
class Environment:
    """Where a measurement was taken; None where the machine does not say.

    `processor` and `simd` say which processor it really is; `load` is the average number of processes that wanted to
    run in the last minute. `throttled` is the Raspberry Pi firmware's word, such as "0x50005"; `temperature_c` and
    `clock_mhz` are read just after the last window, while the processor is warm and at speed.
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
    processor: str | None = None
    simd: str | None = None
    max_clock_mhz: float | None = None
    load: float | None = None


@dataclass(frozen=True)
class Measurement:
    """All windows of one model on one device, raw; what is printed is derived from them (`DEFINITIONS`).

    `estimated` is True when the power comes from no meter but from an assumption: then power and energy are
    estimates. `idle` is None where no rest was requested; `rejected` are the attempts before this one.
    `taken_at_s`: seconds since 1970; None in what version 0.1 has stored.
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
    idle: Idle | None = None
    rejected: tuple[Attempt, ...] = ()
    taken_at_s: float | None = None

    def __post_init__(self) -> None:
        if not self.windows:
            raise UsageError("a measurement needs at least one window, got 0")
        if len({window.power_w is None for window in self.windows}) > 1:
            raise UsageError("either every window of a measurement has a power or none has")
        for key in ("peak_memory_mb", "memory_growth_mb", "load_ms"):
            check_number(key, getattr(self, key), positive=False)

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
        """Return the interquartile range of the window means over their median.

        Not largest minus smallest: on a shared machine one window in five is hit by a neighbour, and the
        median, which is reported, is not affected.
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

    @property
    def idle_power_w(self) -> float | None:
        return None if self.idle is None else self.idle.power_w

    @property
    def net_energy_mj(self) -> float | None:
        idle_w = self.idle_power_w
        energy_mj = self.energy_mj
        if idle_w is None or energy_mj is None:
            return None
        return energy_mj - idle_w * self.image_ms

    def to_json(self) -> str:
        """Return one line of JSON, the raw windows included; floats keep every digit."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Measurement":
        """Return the exact inverse of `to_json`. Raises UsageError when `text` is no stored measurement."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise UsageError(f"not a stored measurement: {error}") from error
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: Any) -> "Measurement":
        """Return a measurement from the JSON object of `to_json`. Raises UsageError as `from_json` does."""
        if not isinstance(data, dict) or not isinstance(data.get("windows"), list):
            raise UsageError("not a stored measurement: an object with a list of windows is needed")
        nested: dict[str, Any] = {
            "plan": MeasurePlan.from_dict(data.get("plan", {})),
            "windows": _windows(data["windows"]),
            "environment": build_record(Environment, data.get("environment", {})),
            "rejected": tuple(
                Attempt(attempt["fault"], _windows(attempt["windows"])) for attempt in data.get("rejected", ())
            ),
        }
        if data.get("idle") is not None:
            nested["idle"] = build_record(Idle, data["idle"])
        return build_record(cls, {**data, **nested})


def unweighed(
    model: bytes,
    plan: MeasurePlan,
    windows: tuple[Window, ...],
    environment: Environment,
    *,
    device: str,
    peak_memory_mb: float,
    memory_growth_mb: float,
    load_ms: float,
    taken_at_s: float,
    idle: Idle | None = None,
) -> Measurement:
    """Return the measurement of a model's bytes, without power; `edge.measuring.attempts.weigh` adds it."""
    return Measurement(
        sha256=hashlib.sha256(model).hexdigest(),
        model_bytes=len(model),
        plan=plan,
        windows=windows,
        peak_memory_mb=peak_memory_mb,
        memory_growth_mb=memory_growth_mb,
        load_ms=load_ms,
        environment=environment,
        device=device,
        meter="none",
        estimated=False,
        idle=idle,
        taken_at_s=taken_at_s,
    )


def merged(rounds: Sequence[Measurement], plan: MeasurePlan) -> Measurement:
    """Return one measurement with the windows of several rounds of one model; they were parts of `plan`."""
    return replace(
        rounds[-1],
        plan=plan,
        windows=tuple(window for each in rounds for window in each.windows),
        rejected=tuple(attempt for each in rounds for attempt in each.rejected),
        peak_memory_mb=median(each.peak_memory_mb for each in rounds),
        memory_growth_mb=median(each.memory_growth_mb for each in rounds),
        load_ms=median(each.load_ms for each in rounds),
    )


def _windows(data: list[Any]) -> tuple[Window, ...]:
    return tuple(build_record(Window, window) for window in data)
