"""Several devices of one kind as one: a measurement goes to a free one, and one that failed is left out for a while."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.errors import InvalidMeasurementError, UnavailableError, UsageError, with_prefix
from edge.measuring.environment import KIND
from edge.measuring.measurement import Environment, Measurement
from edge.measuring.plan import MeasurePlan
from edge.measuring.status import DevicePhase, DeviceStatus, ignore

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time

    from edge.devices.device import Device

MIN_REST_S, MAX_REST_S = 60.0, 900.0
MAX_INVALID = 2
"""As many measurements in a row that cannot be trusted are the device's fault."""
CLOCK_TOLERANCE = 0.02
STEADY_GOVERNORS = ("performance", "userspace")
"""With another one the clock follows the load, and shows only which device was busy just now."""
_T = TypeVar("_T")


@dataclass(eq=False)
class Member:
    """One device of a pool; `reason` says why it is out until `back_s`, and is empty while it is in use."""

    device: "Device"
    reason: str = ""
    back_s: float = 0.0
    outages: int = 0  # in a row
    invalid: int = 0  # measurements in a row
    worked_until_s: float = -math.inf


class Pool:
    """Several devices behind one `Device`, for one caller at a time; other processes may use the devices, too.

    The `with` opens and closes them. A device that fails is out for a minute, then two, up to a quarter of an
    hour; its job goes to the next one. `on_status` hears of that, and of waiting.
    """

    def __init__(
        self,
        devices: "Sequence[Device]",
        on_status: Callable[[DeviceStatus], object] = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = ", ".join(device.url for device in devices)
        self._members = [Member(device) for device in devices]
        self._on_status = on_status
        self._clock = clock
        self._first: tuple[Device, Environment] | None = None  # what the others are compared with

    def __enter__(self) -> "Self":
        try:
            for member in self._members:
                self._admit(member)
            self._usable()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """See `edge.devices.device.Device.close`."""
        for member in self._members:
            member.device.close()

    @property
    def measures_power(self) -> bool:
        """See `edge.devices.device.Device.measures_power`."""
        return self._first is not None and self._first[0].measures_power

    @property
    def shortest_window_s(self) -> float:
        """See `edge.devices.device.Device.shortest_window_s`."""
        return max(member.device.shortest_window_s for member in self._members)

    def jobs(self) -> int:
        """See `edge.devices.device.Device.jobs`; those on the device with the fewest."""
        return self._choose([])[0]

    def environment(self) -> Environment:
        """See `edge.devices.device.Device.environment`; that of the first device in use."""
        for member in self._usable():
            try:
                return member.device.environment()
            except UnavailableError as error:
                self._take_out(member, error)
        raise self._none_left()

    def measure(
        self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> Measurement:
        """See `edge.devices.device.Device.measure`; the measurement's `device` is the URL of the one that measured."""
        return self._run(lambda device: device.measure(model, plan, images, pixels))

    def measure_in_turns(
        self, models: Sequence[bytes], plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> list[Measurement]:
        """See `edge.devices.device.Device.measure_in_turns`; all of them on the same device."""
        return self._run(lambda device: device.measure_in_turns(models, plan, images, pixels))

    def predict(self, model: bytes, images: NDArray[np.uint8], pixels: str = "raw") -> NDArray[np.int64]:
        """See `edge.devices.device.Device.predict`."""
        return self._run(lambda device: device.predict(model, images, pixels))

    def measure_on_each(self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8]) -> list[Measurement]:
        """Return one measurement of every device in use. Raises as `measure` does."""
        found = []
        for member in self._usable():
            try:
                found.append(self._on(member, lambda device: device.measure(model, plan, images)))
            except UnavailableError:
                continue  # it is out now
        if not found:
            raise self._none_left()
        return found

    def _run(self, job: "Callable[[Device], _T]") -> _T:
        """Run the job on the least busy device; one that fails is tried once."""
        tried: list[Member] = []
        while True:
            jobs, member = self._choose(tried)
            if jobs:
                self._report(DevicePhase.WAITING, f"waiting for a device: {jobs} before it on {member.device.url}")
            try:
                return self._on(member, job)
            except UnavailableError:
                tried.append(member)

    def _choose(self, tried: list[Member]) -> tuple[int, Member]:
        """Return the least busy member and its number of jobs; of several the one that has rested longest."""
        found = []
        for member in self._usable(tried):
            try:
                found.append((member.device.jobs(), member.worked_until_s, member))
            except UnavailableError as error:
                self._take_out(member, error)
        if not found:
            raise self._none_left()
        jobs, _, member = min(found, key=lambda each: each[:2])
        return jobs, member

    def _usable(self, tried: Sequence[Member] = ()) -> list[Member]:
        """Return the members in use, with those whose rest is over; with none in use, with all that answer again."""
        none = all(member.reason for member in self._members)
        for member in self._members:
            if member.reason and member not in tried and (none or self._clock() >= member.back_s):
                self._admit_again(member)
        found = [member for member in self._members if not member.reason]
        if not found:
            raise self._none_left()
        return found

    def _none_left(self) -> UnavailableError:
        reasons = "; ".join(f"{member.device.url}: {member.reason}" for member in self._members)
        return UnavailableError(f"no device left: {reasons}")

    def _admit(self, member: Member) -> None:
        """Open a device, and use it if it answers. Raises UsageError for one of another kind."""
        try:
            member.device.__enter__()
            environment = member.device.environment()
        except UnavailableError as error:
            self._take_out(member, error)
            return
        if self._first is None:
            self._first = member.device, environment
        check_same_kind(*self._first, member.device, environment)
        member.reason = ""

    def _admit_again(self, member: Member) -> None:
        try:
            self._admit(member)
        except UsageError as error:  # it has changed, as a governor does when a device restarts
            self._take_out(member, error)
        if not member.reason:
            self._report(DevicePhase.POOL_CHANGED, f"{member.device.url} is back")

    def _on(self, member: Member, job: "Callable[[Device], _T]") -> _T:
        """Run the job on this device, which is taken out where the failure is its fault. Raises what the job does."""
        try:
            result = job(member.device)
        except UnavailableError as error:
            self._take_out(member, error)
            raise
        except InvalidMeasurementError as error:
            member.invalid += 1
            if member.invalid == MAX_INVALID:
                self._take_out(member, error)
            raise with_prefix(member.device.url, error) from error
        finally:
            member.worked_until_s = self._clock()
        member.outages = member.invalid = 0
        return result

    def _take_out(self, member: Member, error: Exception) -> None:
        rest_s = min(MIN_REST_S * 2**member.outages, MAX_REST_S)
        member.outages += 1
        member.reason, member.back_s, member.invalid = str(error), self._clock() + rest_s, 0
        member.device.close()
        self._report(DevicePhase.POOL_CHANGED, f"{member.device.url} is left out for {rest_s:.0f} s: {error}")

    def _report(self, phase: DevicePhase, text: str) -> None:
        self._on_status(DeviceStatus(phase, text))


def check_same_kind(device: "Device", environment: Environment, other: "Device", others: Environment) -> None:
    """Raise UsageError unless measurements of both devices may be compared."""
    pairs: list[tuple[str, object, object]] = [
        (name, getattr(environment, name), getattr(others, name)) for name in KIND
    ]
    pairs.append(("power measured", device.measures_power, other.measures_power))
    clocks_mhz = environment.clock_mhz, others.clock_mhz
    if environment.governor in STEADY_GOVERNORS and clocks_mhz[0] and clocks_mhz[1]:
        if abs(clocks_mhz[1] / clocks_mhz[0] - 1) > CLOCK_TOLERANCE:
            pairs.append(("clock_mhz", *clocks_mhz))
    for name, expected, found in pairs:
        if found != expected:
            raise UsageError(
                f"{other.url} is a device of another kind: {name} {found!r}, {device.url} has "
                f"{expected!r}; measurements of different kinds must not be mixed",
                remedy="set it the same, or leave the device out",
            )


def calibrate(
    pool: Pool, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], limit: float = 0.05
) -> dict[str, float]:
    """Return the latency in ms of a reference model on every device in use, by URL.

    Raises UsageError where the slowest device takes more than `limit` longer than the fastest, or where power is
    measured on one and assumed on another, and as `Pool.measure` does.
    """
    found = pool.measure_on_each(model, plan, images)
    for each in found:
        if each.estimated != found[0].estimated:
            raise UsageError(
                f"{each.device} has the meter {each.meter}, {found[0].device} {found[0].meter}: "
                "measured and assumed power must not be mixed",
                remedy="give both a meter, or leave one out",
            )
    fastest = min(found, key=lambda each: each.latency_ms)
    slowest = max(found, key=lambda each: each.latency_ms)
    excess = slowest.latency_ms / fastest.latency_ms - 1
    if excess > limit:
        raise UsageError(
            f"{slowest.device} takes {slowest.latency_ms:.4g} ms for the reference model, "
            f"{fastest.device} {fastest.latency_ms:.4g} ms: {excess:.1%} more, the limit is "
            f"{limit:.0%}",
            remedy="give them the same system, cooling and supply, or leave one out",
        )
    return {each.device: each.latency_ms for each in found}
