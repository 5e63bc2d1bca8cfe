"""The device that is this machine: each model runs in a fresh child process."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.devices.child_process import ChildRunner
from edge.errors import InvalidMeasurementError, UnavailableError
from edge.measuring.attempts import measure_until_trusted, weigh
from edge.measuring.device_queue import count_jobs, exclusive_device
from edge.measuring.environment import read_environment, throttling_between
from edge.measuring.measurement import Environment, Idle, Measurement, Window, unweighed
from edge.measuring.plan import MeasurePlan
from edge.measuring.status import COOLING, IDLE_BASELINE, MEASURING, PREDICTING, READY, DeviceStatus, ignore
from edge.measuring.time_limits import (
    MAX_COOLING_S,
    START_ALLOWANCE_S,
    measuring_limit_s,
    predicting_limit_s,
)
from edge.measuring.training_lock import training_held
from edge.meters.meter import Meter
from edge.records import build_record
from edge.runtime.tflite import check_header, check_images

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time

QUEUE = "local"
COOLING_STEP_S = 2.0


class LocalDevice:
    """Measures on this machine, one call at a time, those of other processes included.

    `meter` is the caller's to open and close; without one, power and energy are not measured. `status` says
    what is being done; `cancel` ends it from another thread. `on_status` hears when it waits for other
    processes, and when that is over.
    """

    def __init__(
        self,
        meter: Meter | None = None,
        start_allowance_s: float = START_ALLOWANCE_S,
        on_status: Callable[[DeviceStatus], object] = ignore,
    ) -> None:
        self.url = "local:"
        self.status = READY
        self._meter = meter
        self._start_allowance_s = start_allowance_s
        self._on_status = on_status
        self._child = ChildRunner()

    @property
    def measures_power(self) -> bool:
        """See `edge.devices.device.Device.measures_power`."""
        return self._meter is not None

    @property
    def shortest_window_s(self) -> float:
        """See `edge.devices.device.Device.shortest_window_s`."""
        return 0.0 if self._meter is None else self._meter.shortest_window_s

    def jobs(self) -> int:
        """See `edge.devices.device.Device.jobs`."""
        return count_jobs(QUEUE)

    def environment(self) -> Environment:
        """Return this machine's state now. Raises nothing."""
        return read_environment()

    def measure(
        self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> Measurement:
        """See `edge.devices.device.Device.measure`."""
        return self.measure_in_turns([model], plan, images, pixels)[0]

    def measure_in_turns(
        self, models: Sequence[bytes], plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> list[Measurement]:
        """See `edge.devices.device.Device.measure_in_turns`."""
        wants_idle = self._meter is not None and not self._meter.estimated

        def attempt() -> list[Measurement]:
            return self.attempt(models, plan, images, wants_idle, pixels)

        return measure_until_trusted(attempt, plan, self._sleep)

    def attempt(
        self,
        models: Sequence[bytes],
        plan: MeasurePlan,
        images: NDArray[np.uint8],
        wants_idle: bool,
        pixels: str = "raw",
    ) -> list[Measurement]:
        """Make one attempt by the plan, weighed but not judged; several models are measured in turns.

        Args:
            models: bytes of .tflite or .onnx files.
            plan: how long and how often.
            images: uint8 (N, 32, 32, 3), 0..255.
            wants_idle: rest for the plan's `idle_s` before.
            pixels: one of `edge.runtime.preprocessing.PIXELS`.

        Raises as `edge.devices.device.Device.measure` does.
        """
        for model in models:
            check_header(model)
        check_images(images)
        with self._exclusive():
            self._cool_down(plan)
            throttled_before = self.environment().throttled
            limit_s = measuring_limit_s(plan, len(images), self._start_allowance_s, len(models))
            job = {"task": "measure", "plan": plan.to_dict(), "pixels": pixels}
            holding = training_held(self._sleep, self._report) if plan.hold_training else nullcontext()
            with holding:
                idle = self._stand_idle(plan) if wants_idle and plan.idle_s else None
                self.status = MEASURING
                result, _ = self._child.run(models, images, job, limit_s)
        measurements = [
            self._read_measurement(model, plan, idle, measured)
            for model, measured in zip(models, result["measured"], strict=True)
        ]
        new = throttling_between(throttled_before, measurements[-1].environment.throttled)
        if new:  # the windows can be alike all the same: it may have been held back in every one of them
            raise InvalidMeasurementError(
                f"the processor was held back while it measured ({', '.join(new)})",
                remedy="let it cool down or use a stronger supply",
            )
        if self._meter is None:
            return measurements
        return [weigh(measurement, self._meter) for measurement in measurements]

    def _read_measurement(
        self, model: bytes, plan: MeasurePlan, idle: Idle | None, measured: dict[str, Any]
    ) -> Measurement:
        return unweighed(
            model,
            plan,
            tuple(build_record(Window, window) for window in measured["windows"]),
            build_record(Environment, measured["environment"]),
            device=self.url,
            peak_memory_mb=measured["peak_memory_mb"],
            memory_growth_mb=measured["memory_growth_mb"],
            load_ms=measured["load_ms"],
            idle=idle,
            taken_at_s=measured["taken_at_s"],
        )

    def predict(self, model: bytes, images: NDArray[np.uint8], pixels: str = "raw") -> NDArray[np.int64]:
        """See `edge.devices.device.Device.predict`."""
        check_header(model)
        check_images(images)
        limit_s = predicting_limit_s(len(images), self._start_allowance_s)
        with self._exclusive():
            self.status = PREDICTING
            _, labels = self._child.run([model], images, {"task": "predict", "pixels": pixels}, limit_s)
        if labels is None:
            raise UnavailableError(
                "the predicting process left no labels", remedy="is the temporary folder cleaned by others?"
            )
        return labels

    def cancel(self) -> None:
        """End what another thread does here: it raises UnavailableError, and so do later calls."""
        self._child.cancel()

    def close(self) -> None:
        """Do nothing: nothing is held between two calls."""

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold this machine: two measurements at the same time would slow each other down."""
        try:
            with exclusive_device(QUEUE, self._sleep, self._report):
                yield
        finally:
            self.status = READY

    def _report(self, status: DeviceStatus) -> None:
        self.status = status
        self._on_status(status)

    def _sleep(self, seconds: float) -> None:
        self._child.sleep(seconds)

    def _cool_down(self, plan: MeasurePlan) -> None:
        """Wait until the processor is cool enough, on a Raspberry Pi: the limit is about its throttling."""
        self.status = COOLING
        waited_s = 0.0
        while plan.cool_below_c is not None:
            now = self.environment()
            if now.throttled is None or now.temperature_c is None or now.temperature_c < plan.cool_below_c:
                return
            if waited_s >= MAX_COOLING_S:
                raise InvalidMeasurementError(
                    f"the processor is at {now.temperature_c:.1f} C after {waited_s:.0f} s of rest, "
                    f"the limit is {plan.cool_below_c:g} C",
                    remedy="put a fan on it",
                )
            self._sleep(COOLING_STEP_S)
            waited_s += COOLING_STEP_S

    def _stand_idle(self, plan: MeasurePlan) -> Idle:
        self.status = IDLE_BASELINE
        start_s = time.monotonic()
        self._sleep(plan.idle_s)
        return Idle(start_s, time.monotonic())
