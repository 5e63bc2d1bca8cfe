"""A loaded model, whichever runtime runs it, as the timed loop and the prediction use it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Runner:
    """Callables instead of methods, so that no call of ours is between the clock and the runtime's own `invoke`.

    `encode` takes uint8 images (N, 32, 32, 3) and one of `preprocessing.PIXELS` and returns frames: slices of length 1
    of what it returns. It raises ModelError where the model cannot take such pixels. `set_input` copies a frame
    into the model's input, `get_output` copies the ten outputs (1, 10) out. `failures` are what `invoke` and its
    neighbours raise for a model that cannot run. `describe` gives the runtime's name and version and the delegate,
    None where there is none.
    """

    blank: NDArray[Any]
    encode: Callable[[NDArray[np.uint8], str], NDArray[Any]]
    set_input: Callable[[NDArray[Any]], object]
    invoke: Callable[[], object]
    get_output: Callable[[], NDArray[Any]]
    failures: tuple[type[Exception], ...]
    describe: Callable[[], tuple[str, str | None]]
