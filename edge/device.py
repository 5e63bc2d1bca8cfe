"""What can run and measure a model, behind a URL: `local:`, `ssh://...`, `rpyc://...`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.errors import UsageError
from edge.local import LocalDevice
from edge.measurement import Environment, Measurement
from edge.meters.meter import Meter, open_meter
from edge.plan import MeasurePlan

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time


ON_DEVICE = "device:"
"""Instead of a meter's URL: the meter that hangs on the device itself, which its agent has opened."""


class Device(Protocol):
    """A machine that runs one model at a time. Images are uint8 (N, 32, 32, 3), 0..255, not normalised."""

    @property
    def url(self) -> str: ...

    @property
    def measures_power(self) -> bool:
        """Whether a meter, or an assumption in its place, gives the power. Raises UnavailableError."""
        ...

    @property
    def shortest_window_s(self) -> float:
        """The seconds that a plan's window must last for the meter's sake. Raises UnavailableError."""
        ...

    def environment(self) -> Environment:
        """The machine's state now. Raises UnavailableError when it does not answer."""
        ...

    def measure(
        self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> Measurement:
        """Runs a .tflite's or .onnx's bytes by the plan; `pixels` is one of `edge.pixels.PIXELS`.

        Raises InfeasibleError when the model cannot run here, InvalidMeasurementError when the figures cannot
        be trusted even on repetition, UnavailableError when device or meter fail and UsageError for other
        images.
        """
        ...

    def predict(self, model: bytes, images: NDArray[np.uint8], pixels: str = "raw") -> NDArray[np.int64]:
        """The label of every image: int64 (N,), 0..9. Raises as `measure` does."""
        ...

    def close(self) -> None:
        """Lets go of the machine; a second call does nothing. Raises nothing."""
        ...

    def __enter__(self) -> "Self": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_device(
    url: str, meter: Meter | None = None, tell: Callable[[str], object] = lambda phase: None
) -> Device:
    """The device behind a URL, to be used in a `with`.

    `meter` stays the caller's to close; None means the one that hangs on a remote device, if any.
    `tell` hears what a remote device is doing meanwhile.
    Raises UsageError for a URL that names no device.
    """
    if url == "local:":
        return LocalDevice(meter)
    if url.startswith(("rpyc://", "ssh://")):
        from edge.wire.connect import connector  # here, because rpyc takes longer to load than `import edge` may
        from edge.wire.remote import RemoteDevice

        return RemoteDevice(url, connector(url), meter, tell)
    raise UsageError(f"no device {url!r}; there are: local:, ssh://pi@raspberrypi.local, rpyc://127.0.0.1:18861")


@contextmanager
def open_rig(
    device_url: str, meter_url: str, tell: Callable[[str], object] = lambda phase: None
) -> Iterator[Device]:
    """The device together with the meter that weighs it: one on this host, or ON_DEVICE.

    Raises UsageError for a URL that names nothing, UnavailableError when device or meter do not answer.
    """
    with ExitStack() as stack:
        meter = None if meter_url == ON_DEVICE else stack.enter_context(open_meter(meter_url))
        yield stack.enter_context(open_device(device_url, meter, tell))
