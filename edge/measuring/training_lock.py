"""Training holds still while a measurement runs on the same machine.

A training and a measurement at the same time slow each other down: a model of 7.8 us took 10.9 us beside
a training on the other core. So every training step takes a shared lock (flock), and a measurement takes
an exclusive one. The kernel releases the locks of a process that dies.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from pathlib import Path

from edge.measuring.device_queue import unusable_temporary_folder
from edge.measuring.status import WAITING_FOR_TRAINING, DeviceStatus, ignore

POLL_S = 0.01
REPORT_AFTER_S = 1.0


@contextmanager
def training_held(
    sleep: Callable[[float], object], on_status: Callable[[DeviceStatus], object] = ignore
) -> Iterator[None]:
    """Keep trainings of this machine still; `sleep` passes the seconds until the running steps have ended.

    Two locks: the gate keeps new steps from starting, then the room is free when the running ones have
    ended. With one lock, trainings that take turns would keep a measurement out for ever. Raises what
    `sleep` raises, and UnavailableError where the temporary folder cannot be used.
    """
    with _opened("gate") as gate, _opened("room") as room:
        waited_s = 0.0
        for lock in (gate, room):
            while not _try_lock(lock):
                sleep(POLL_S)
                waited_s += POLL_S
                if waited_s >= REPORT_AFTER_S:
                    on_status(WAITING_FOR_TRAINING)
                    waited_s = 0.0
        yield


class TrainingPlace:
    """The shared lock of one process that trains; enter it for each step. The locks end with the process.

    Never enter one inside another: a measurement that starts between the two would wait for ever.
    """

    def __init__(self) -> None:
        self._gate = _open("gate")
        self._room = _open("room")

    def __enter__(self) -> None:
        flock(self._gate, LOCK_SH)
        flock(self._room, LOCK_SH)
        flock(self._gate, LOCK_UN)

    def __exit__(self, *_: object) -> None:
        flock(self._room, LOCK_UN)


def _try_lock(handle: int) -> bool:
    try:
        flock(handle, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(name: str) -> Iterator[int]:
    handle = _open(name)
    try:
        yield handle
    finally:
        os.close(handle)


def _open(name: str) -> int:
    """Open the lock's file, which is kept; it is this user's, and no other can lock it."""
    path = Path(tempfile.gettempdir(), f"thrones-{os.getuid()}-training.{name}")
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable_temporary_folder(error) from error
