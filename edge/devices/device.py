"""The protocol that every device follows; `edge.open_device` opens one by its URL."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.measuring.measurement import Environment, Measurement
from edge.measuring.plan import MeasurePlan

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on; nothing needs it at run time


class Device(Protocol):
    """A machine that runs one model at a time. Images are uint8 (N, 32, 32, 3), 0..255, not normalised."""

    @property
    def url(self) -> str: ...

    @property
    def measures_power(self) -> bool:
        """True when a meter, or an assumption in its place, gives the power. Raises UnavailableError."""
        ...

    @property
    def shortest_window_s(self) -> float:
        """The least length of a plan's window that the meter needs, in seconds. Raises UnavailableError."""
        ...

    def jobs(self) -> int:
        """Return how many jobs of all hosts wait or run on it now. Raises UnavailableError."""
        ...

    def environment(self) -> Environment:
        """Return the machine's state now. Raises UnavailableError when it does not answer."""
        ...

    def measure(
        self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> Measurement:
        """Measure a .tflite's or .onnx's bytes by the plan; `pixels` is one of `edge.runtime.preprocessing.PIXELS`.

        Raises ModelError when the model cannot run here, InvalidMeasurementError when the figures cannot
        be trusted even on repetition, UnavailableError when device or meter fail and UsageError for other
        images.
        """
        ...

    def measure_in_turns(
        self, models: Sequence[bytes], plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> list[Measurement]:
        """Measure several models in one process, window by window in turns: A B, B A, A B, ...

        A disturbance of the machine hits all of them alike. So the ratio of windows of the same number holds where
        each figure alone does not. Raises as `measure` does.
        """
        ...

    def predict(self, model: bytes, images: NDArray[np.uint8], pixels: str = "raw") -> NDArray[np.int64]:
        """Return the label of every image: int64 (N,), 0..9. Raises as `measure` does."""
        ...

    def close(self) -> None:
        """Release the machine; a second call does nothing. Raises nothing."""
        ...

    def __enter__(self) -> "Self": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
