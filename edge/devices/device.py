"""What can run and measure a model, behind a URL: `local:`, `ssh://...`, `rpyc://...`, `fake://...`; or several."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.devices.fake import FakeDevice
from edge.devices.local import LocalDevice
from edge.devices.pool import Pool
from edge.errors import UsageError
from edge.measuring.measurement import Environment, Measurement
from edge.measuring.plan import MeasurePlan
from edge.meters.meter import Meter, open_meter

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

    def jobs(self) -> int:
        """How many jobs wait or run on it now, whoever asked for them. Raises UnavailableError."""
        ...

    def environment(self) -> Environment:
        """The machine's state now. Raises UnavailableError when it does not answer."""
        ...

    def measure(
        self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> Measurement:
        """Runs a .tflite's or .onnx's bytes by the plan; `pixels` is one of `edge.runtime.preprocessing.PIXELS`.

        Raises InfeasibleError when the model cannot run here, InvalidMeasurementError when the figures cannot
        be trusted even on repetition, UnavailableError when device or meter fail and UsageError for other
        images.
        """
        ...

    def measure_in_turns(
        self, models: Sequence[bytes], plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> list[Measurement]:
        """Measures several models in one process, window by window in turns: A B, B A, A B, ...

        What disturbs the machine hits all of them alike, so that the ratio of windows of the same number holds where
        each figure alone does not. Raises as `measure` does.
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
    url: str,
    meter: Meter | None = None,
    tell: Callable[[str], object] = lambda phase: None,
    patient: bool = True,
) -> Device:
    """The device behind a URL, to be used in a `with`.

    `meter` stays the caller's to close; None means the one that hangs on a remote device, if any.
    `tell` hears what a remote device is doing meanwhile; `patient`: whether one that is lost is sought for a minute.
    Raises UsageError for a URL that names no device.
    """
    if url == "local:":
        return LocalDevice(meter, tell=tell)
    if url.startswith("fake://"):
        return FakeDevice(url, meter, tell=tell)
    if url.startswith(("rpyc://", "ssh://")):
        from edge.remote.client import FIRST_CONTACT_S, RETRY_S, RemoteDevice
        from edge.remote.connect import connector  # here, because rpyc takes longer to load than `import edge` may

        return RemoteDevice(url, connector(url), meter, tell, RETRY_S if patient else FIRST_CONTACT_S)
    raise UsageError(
        f"no device {url!r}; there are: local:, ssh://pi@raspberrypi.local, rpyc://127.0.0.1:18861, fake://NAME"
    )


@contextmanager
def open_rig(
    device_urls: Sequence[str] | str, meter_url: str, tell: Callable[[str], object] = lambda phase: None
) -> Iterator[Device]:
    """The device, or the pool of several, together with the meter that weighs it: one on this host, or ON_DEVICE.

    Raises UsageError for a URL that names nothing or is named twice, for one meter with several boards and for boards
    of different kinds, UnavailableError when device or meter do not answer.
    """
    urls = [device_urls] if isinstance(device_urls, str) else list(device_urls)
    if not urls:
        raise UsageError("no device is named: for example ssh://pi@raspberrypi.local")
    for url in urls:
        if urls.count(url) > 1:
            raise UsageError(f"{url} is named twice: a board takes one measurement at a time")
    if len(urls) > 1 and meter_url != ON_DEVICE and not meter_url.startswith("estimate://"):
        raise UsageError(f"{meter_url} hangs on one of the {len(urls)} boards: use {ON_DEVICE}, each board's own")
    with ExitStack() as stack:
        meter = None if meter_url == ON_DEVICE else stack.enter_context(open_meter(meter_url))
        devices = [open_device(url, meter, tell, patient=len(urls) == 1) for url in urls]
        yield stack.enter_context(devices[0] if len(urls) == 1 else Pool(devices, tell))
