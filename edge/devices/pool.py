"""Several boards of one kind as one device: a measurement goes to the one that is free, a sick board rests."""

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

FIRST_REST_S, LONGEST_REST_S = 60.0, 900.0
MOST_INVALID = 2
"""So many measurements in a row that cannot be believed are the board's fault."""
CLOCK_TOLERANCE = 0.02
STEADY_GOVERNORS = ("performance", "userspace")
"""With another one the clock follows the load, and says only which board was busy just now."""
_T = TypeVar("_T")


@dataclass(eq=False)
class Board:
    """One device of a pool; `reason` tells why it is out until `back_s`, and is empty while it is in."""

    device: "Device"
    reason: str = ""
    back_s: float = 0.0
    outages: int = 0  # in a row
    invalid: int = 0  # measurements in a row
    worked_until_s: float = -math.inf


class Pool:
    """The boards behind one `Device`, for one caller at a time, who may share the boards with other processes.

    `devices` are opened by the `with`, and closed. A board that fails is out for a minute, then two, up to a quarter
    of an hour; its job goes to the next one. `on_status` hears of that, and of waiting.
    """

    def __init__(
        self,
        devices: "Sequence[Device]",
        on_status: Callable[[DeviceStatus], object] = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = ", ".join(device.url for device in devices)
        self._boards = [Board(device) for device in devices]
        self._on_status = on_status
        self._clock = clock
        self._first: tuple[Device, Environment] | None = None  # what the others are compared with

    def __enter__(self) -> "Self":
        try:
            for board in self._boards:
                self._admit(board)
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
        for board in self._boards:
            board.device.close()

    @property
    def measures_power(self) -> bool:
        """See `edge.devices.device.Device.measures_power`."""
        return self._first is not None and self._first[0].measures_power

    @property
    def shortest_window_s(self) -> float:
        """See `edge.devices.device.Device.shortest_window_s`."""
        return max(board.device.shortest_window_s for board in self._boards)

    def jobs(self) -> int:
        """See `edge.devices.device.Device.jobs`; those on the board with the fewest."""
        return self._choose([])[0]

    def environment(self) -> Environment:
        """See `edge.devices.device.Device.environment`; that of the first board in use."""
        for board in self._usable():
            try:
                return board.device.environment()
            except UnavailableError as error:
                self._take_out(board, error)
        raise self._none_left()

    def measure(
        self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> Measurement:
        """See `edge.devices.device.Device.measure`; the measurement's `device` is the board's URL."""
        return self._run(lambda device: device.measure(model, plan, images, pixels))

    def measure_in_turns(
        self, models: Sequence[bytes], plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> list[Measurement]:
        """See `edge.devices.device.Device.measure_in_turns`; all of them on the same board."""
        return self._run(lambda device: device.measure_in_turns(models, plan, images, pixels))

    def predict(self, model: bytes, images: NDArray[np.uint8], pixels: str = "raw") -> NDArray[np.int64]:
        """See `edge.devices.device.Device.predict`."""
        return self._run(lambda device: device.predict(model, images, pixels))

    def measure_on_each(self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8]) -> list[Measurement]:
        """One measurement of every board that is in use. Raises as `measure` does."""
        found = []
        for board in self._usable():
            try:
                found.append(self._on(board, lambda device: device.measure(model, plan, images)))
            except UnavailableError:
                continue  # it is out now
        if not found:
            raise self._none_left()
        return found

    def _run(self, job: "Callable[[Device], _T]") -> _T:
        """The job on the least busy board; each board that is not there for it is tried once."""
        tried: list[Board] = []
        while True:
            jobs, board = self._choose(tried)
            if jobs:
                self._report(DevicePhase.WAITING, f"waiting for a board: {jobs} before it on {board.device.url}")
            try:
                return self._on(board, job)
            except UnavailableError:
                tried.append(board)

    def _choose(self, tried: list[Board]) -> tuple[int, Board]:
        """How many jobs the least busy board has, and that board: of several the one that has rested longest."""
        found = []
        for board in self._usable(tried):
            try:
                found.append((board.device.jobs(), board.worked_until_s, board))
            except UnavailableError as error:
                self._take_out(board, error)
        if not found:
            raise self._none_left()
        jobs, _, board = min(found, key=lambda each: each[:2])
        return jobs, board

    def _usable(self, tried: Sequence[Board] = ()) -> list[Board]:
        """The boards in use, with those that have rested; with none in use, with all that answer again."""
        none = all(board.reason for board in self._boards)
        for board in self._boards:
            if board.reason and board not in tried and (none or self._clock() >= board.back_s):
                self._admit_again(board)
        found = [board for board in self._boards if not board.reason]
        if not found:
            raise self._none_left()
        return found

    def _none_left(self) -> UnavailableError:
        reasons = "; ".join(f"{board.device.url}: {board.reason}" for board in self._boards)
        return UnavailableError(f"no board left: {reasons}")

    def _admit(self, board: Board) -> None:
        """Open a board, and take it into use if it answers. Raises UsageError for one of another kind."""
        try:
            board.device.__enter__()
            environment = board.device.environment()
        except UnavailableError as error:
            self._take_out(board, error)
            return
        if self._first is None:
            self._first = board.device, environment
        check_same_kind(*self._first, board.device, environment)
        board.reason = ""

    def _admit_again(self, board: Board) -> None:
        try:
            self._admit(board)
        except UsageError as error:  # it has changed, as a governor does when a board restarts
            self._take_out(board, error)
        if not board.reason:
            self._report(DevicePhase.POOL_CHANGED, f"{board.device.url} is back")

    def _on(self, board: Board, job: "Callable[[Device], _T]") -> _T:
        """The job on this board, which is taken out where it fails through its fault. Raises what the job does."""
        try:
            result = job(board.device)
        except UnavailableError as error:
            self._take_out(board, error)
            raise
        except InvalidMeasurementError as error:
            board.invalid += 1
            if board.invalid == MOST_INVALID:
                self._take_out(board, error)
            raise with_prefix(board.device.url, error) from error
        finally:
            board.worked_until_s = self._clock()
        board.outages = board.invalid = 0
        return result

    def _take_out(self, board: Board, error: Exception) -> None:
        rest_s = min(FIRST_REST_S * 2**board.outages, LONGEST_REST_S)
        board.outages += 1
        board.reason, board.back_s, board.invalid = str(error), self._clock() + rest_s, 0
        board.device.close()
        self._report(DevicePhase.POOL_CHANGED, f"{board.device.url} is left out for {rest_s:.0f} s: {error}")

    def _report(self, phase: DevicePhase, text: str) -> None:
        self._on_status(DeviceStatus(phase, text))


def check_same_kind(device: "Device", environment: Environment, other: "Device", others: Environment) -> None:
    """Raises UsageError unless measurements of both devices may stand side by side."""
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
                f"{other.url} is a board of another kind: {name} {found!r}, {device.url} has "
                f"{expected!r}; measurements of different kinds must not be mixed",
                remedy="set it the same, or leave the board out",
            )


def calibrate(
    pool: Pool, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], limit: float = 0.05
) -> dict[str, float]:
    """The latency in ms of a reference model on every board in use, by URL.

    Raises UsageError where the slowest board takes more than `limit` longer than the fastest, or where power is
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
