"""Let Ctrl-C interrupt a trial at once, but never between two writes of Optuna's own bookkeeping."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

RETRY_S = 0.02
"""How soon an interrupt that met a transaction is tried again."""


class Interrupts:
    """Inside the `with`, SIGINT raises KeyboardInterrupt within `let_through` only; elsewhere it waits until then.

    In the middle of `study.tell` it would leave the trial running, or end in an error of Optuna's. In the middle of a
    transaction it would leave the database locked for this process too: while `is_busy` returns True, it waits.
    """

    def __init__(self, is_busy: Callable[[], bool] = lambda: False) -> None:
        self._is_busy = is_busy
        self._before: Any = None
        self._kept = False
        self._through = False

    def __enter__(self) -> "Interrupts":
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
        if self._kept and kind is None:
            raise KeyboardInterrupt

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Let Ctrl-C end what happens in the `with`."""
        self._through = True
        try:
            if self._kept:
                raise KeyboardInterrupt
            yield
        finally:
            self._through = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._through and self._is_busy():
            again = threading.Timer(RETRY_S, os.kill, (os.getpid(), signal.SIGINT))
            again.daemon = True
            again.start()
        elif self._through:
            self._through = False  # a second one must not disturb the handling of the first
            raise KeyboardInterrupt
        else:
            self._kept = True
