"""Training holds still while something is measured on the same machine.

Two processes that train and measure at a time slow each other down: a model of 7.8 us took 10.9 us beside a training
on the other core. So every training step asks for a place in the room, which a measurement has to itself. Both are
file locks (flock): whoever is killed is out of the room.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from pathlib import Path

from edge.devices.measuring_queue import no_temporary_folder

LOOK_EVERY_S = 0.01
TELL_AFTER_S = 1.0
WAITING = "waiting for a training or a conversion on this host"


@contextmanager
def training_held(
    rest: Callable[[float], object], tell: Callable[[str], object] = lambda phase: None
) -> Iterator[None]:
    """The machine without training; `rest` passes the seconds until the running steps have ended.

    First the gate is shut, so that no new step begins, then the running ones are waited for: trainings that take turns
    would keep a measurement out for ever. Raises what `rest` raises, and UnavailableError where the temporary folder
    cannot be used.
    """
    with _opened("gate") as gate, _opened("room") as room:
        waited_s = 0.0
        for lock in (gate, room):
            while not _try_lock(lock):
                rest(LOOK_EVERY_S)
                waited_s += LOOK_EVERY_S
                if waited_s >= TELL_AFTER_S:
                    tell(WAITING)
                    waited_s = 0.0
        yield


class TrainingPlace:
    """The place of one process that trains; enter it for each step. The locks end with the process.

    Never enter one inside another: a measurement that comes between the two would wait for the outer one for ever.
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
    """The lock's file, which stays: it is this user's, and no other may lock it."""
    path = Path(tempfile.gettempdir(), f"thrones-{os.getuid()}-training.{name}")
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise no_temporary_folder(error) from error
