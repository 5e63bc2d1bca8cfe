"""What can run and measure a model, behind a URL: `local:` today."""

from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.errors import UsageError
from edge.local import LocalDevice
from edge.measurement import Environment, Measurement, MeasurePlan
from edge.meter import Meter

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time


class Device(Protocol):
    """A machine that runs one model at a time. Images are uint8 (N, 32, 32, 3), 0..255, not normalised."""

    @property
    def url(self) -> str: ...

    def environment(self) -> Environment:
        """The machine's state now. Raises UnavailableError when it does not answer."""
        ...

    def measure(self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8]) -> Measurement:
        """Runs a .tflite file's bytes by the plan.

        Raises InfeasibleError when the model cannot run here, InvalidMeasurementError when the figures cannot
        be trusted even on repetition, UnavailableError when device or meter fail and UsageError for other
        images.
        """
        ...

    def predict(self, model: bytes, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The label of every image: int64 (N,), 0..9. Raises as `measure` does."""
        ...

    def close(self) -> None:
        """Lets go of the machine; a second call does nothing. Raises nothing."""
        ...

    def __enter__(self) -> "Self": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_device(url: str, meter: Meter | None = None) -> Device:
    """The device behind a URL, to be used in a `with`.

    `meter` stays the caller's to close; None measures no power.
    Raises UsageError for a URL that names no device.
    """
    if url == "local:":
        return LocalDevice(meter)
    raise UsageError(f"no device {url!r}; there is: local:")
