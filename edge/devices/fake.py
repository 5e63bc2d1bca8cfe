"""A fake device, to try workers, storages and pools without hardware: `fake://NAME?seconds=20&slower=1.02`.

Its labels are real, its figures are made up from the model's size. It is busy for the given seconds, for one
process of this host at a time, and every environment says that it is fake.
"""

import hashlib
import math
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from edge.errors import UsageError, with_prefix
from edge.measuring.attempts import weigh
from edge.measuring.device_queue import count_jobs, exclusive_device
from edge.measuring.measurement import Environment, Measurement, Window, unweighed
from edge.measuring.plan import MeasurePlan
from edge.measuring.status import DeviceStatus, ignore
from edge.meters.meter import EstimateMeter, Meter
from edge.records import check_number
from edge.runtime import tflite as interpreter
from edge.runtime.preprocessing import check_pixels

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time

MS_PER_BYTE = 1e-6
"""The unpruned network takes 13 ms with it."""
IMAGE_SHARE = 1.05
"""Setting the input and fetching the output included, over invoke() alone."""
RUNTIME_MB, COPIES = 40.0, 2.0
POWER_W = 5.0


@dataclass(frozen=True)
class Traits:
    """The options in a URL: busy for `seconds` a measurement, and `slower` times as slow."""

    seconds: float = 0.0
    slower: float = 1.0
    cpu: str = "fake board"
    governor: str = "performance"
    clock_mhz: float = 1400.0

    def __post_init__(self) -> None:
        check_number("seconds", self.seconds, positive=False)
        check_number("slower", self.slower, positive=True)
        check_number("clock_mhz", self.clock_mhz, positive=True)
        if not self.cpu or not self.governor:
            raise UsageError("cpu and governor must not be empty")


class FakeDevice:
    """See the top. `meter` assumes the power and is the caller's; without it POWER_W is assumed.

    Models are checked in this process (`tflite.check_model`), so that a measurement takes no longer than
    requested. Raises UsageError for a bad URL and for a meter that measures: there is nothing to measure here.
    """

    def __init__(
        self,
        url: str,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        on_status: Callable[[DeviceStatus], object] = ignore,
    ) -> None:
        if meter is not None and not meter.estimated:
            raise UsageError(
                f"{url} draws no power that {meter.url} could measure",
                remedy="use device: or estimate://4.8W",
            )
        self.url = url
        self.name, self.traits = parse_fake(url)
        self._meter = meter or EstimateMeter("fake", POWER_W)
        self._clock = clock
        self._sleep = sleep
        self._on_status = on_status
        self._checked: set[str] = set()
        self._environment = _make_environment(self.name, self.traits)

    @property
    def measures_power(self) -> bool:
        """See `edge.devices.device.Device.measures_power`."""
        return True

    @property
    def shortest_window_s(self) -> float:
        """See `edge.devices.device.Device.shortest_window_s`."""
        return self._meter.shortest_window_s

    def jobs(self) -> int:
        """See `edge.devices.device.Device.jobs`."""
        return count_jobs(self._queue)

    def environment(self) -> Environment:
        """See `edge.devices.device.Device.environment`."""
        return self._environment

    def measure(
        self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> Measurement:
        """See `edge.devices.device.Device.measure`."""
        return self.measure_in_turns([model], plan, images, pixels)[0]

    def measure_in_turns(
        self, models: Sequence[bytes], plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> list[Measurement]:
        """See `edge.devices.device.Device.measure_in_turns`; it is busy for as long as for one model."""
        for model in models:
            interpreter.check_header(model)
        interpreter.check_images(images)
        check_pixels(pixels)
        with exclusive_device(self._queue, self._sleep, self._on_status):
            for model in models:
                self._check_once(model)
            start_s = self._clock()
            if self.traits.seconds:
                self._sleep(self.traits.seconds)
        return [weigh(self._make_up(model, plan, len(images), start_s), self._meter) for model in models]

    def _check_once(self, model: bytes) -> None:
        sha256 = hashlib.sha256(model).hexdigest()
        if sha256 not in self._checked:
            interpreter.check_model(model)
            self._checked.add(sha256)

    def _make_up(self, model: bytes, plan: MeasurePlan, images: int, start_s: float) -> Measurement:
        latency_ms = len(model) * MS_PER_BYTE * self.traits.slower
        growth_mb = COPIES * len(model) / 1e6
        return unweighed(
            model,
            plan,
            _make_up_windows(plan, images, start_s, latency_ms),
            self._environment,
            device=self.url,
            peak_memory_mb=RUNTIME_MB + growth_mb,
            memory_growth_mb=growth_mb,
            load_ms=latency_ms,
            taken_at_s=time.time(),
        )

    def predict(self, model: bytes, images: NDArray[np.uint8], pixels: str = "raw") -> NDArray[np.int64]:
        """See `edge.devices.device.Device.predict`."""
        with exclusive_device(self._queue, self._sleep, self._on_status):
            return interpreter.predict(model, images, pixels=pixels)

    def close(self) -> None:
        """Do nothing: nothing is held between two calls."""

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _queue(self) -> str:
        return f"fake-{self.name}"


def parse_fake(url: str) -> tuple[str, Traits]:
    """Return the name and the traits in a URL. Raises UsageError for an unknown parameter and for a bad value."""
    place, _, query = url.partition("?")
    name = place.removeprefix("fake://")
    if not re.fullmatch(r"[\w.-]+", name, flags=re.ASCII):
        raise UsageError(
            f"{url!r} needs a name of letters and digits",
            remedy="for example fake://one?seconds=20&slower=1.02",
        )
    kinds = {field.name: type(getattr(Traits, field.name)) for field in fields(Traits)}
    given: dict[str, str | float] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in kinds:
            raise UsageError(
                f"{url!r}: unknown parameter {key!r}",
                remedy=f"there are: {', '.join(kinds)}",
            )
        try:
            given[key] = kinds[key](text)
        except ValueError as error:
            raise UsageError(f"{url!r}: {key} must be a number, got {text!r}") from error
    try:
        return name, replace(Traits(), **given)  # type: ignore[arg-type]  # of the fields' own types, as just made
    except UsageError as error:
        raise with_prefix(repr(url), error) from error


def _make_environment(name: str, traits: Traits) -> Environment:
    return Environment(
        host=f"fake board {name}",
        machine="fake",
        cpu=traits.cpu,
        cores=4,
        os="none: a fake board",
        python=platform.python_version(),
        runtime=interpreter.runtime_name(),
        delegate="XNNPACK",
        governor=traits.governor,
        clock_mhz=traits.clock_mhz,
        temperature_c=None,
        throttled=None,
    )


def _make_up_windows(plan: MeasurePlan, images: int, start_s: float, latency_ms: float) -> tuple[Window, ...]:
    """Return windows as the plan requires, all alike, one after the other from `start_s` on."""
    image_s = latency_ms * IMAGE_SHARE / 1e3
    in_window = math.ceil(plan.window_s / image_s) + 1  # one more, since differences of large numbers are rounded
    length_s = in_window * image_s
    return tuple(
        Window(
            start_s=start_s + number * length_s,
            end_s=start_s + (number + 1) * length_s,
            images=in_window,
            invoke_s=in_window * latency_ms / 1e3,
            p50_ms=latency_ms,
            p90_ms=latency_ms,
        )
        for number in range(max(plan.windows, math.ceil(plan.passes * images / in_window)))
    )
