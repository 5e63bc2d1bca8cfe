"""Turns on a board of this host: one process at a time, the others in the order in which they came.

Everyone draws a number, which is a file that stays locked (flock) for as long as its drawer lives: whoever is killed
is out of the queue. The folder of the files is locked while a number is drawn or looked at, and goes with the last one.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path

from edge.errors import UnavailableError, one_line

LOOK_EVERY_S = 0.02
WAITING = "waiting for another process of this machine"


@contextmanager
def turn(
    board: str, rest: Callable[[float], object], tell: Callable[[str], object] = lambda phase: None
) -> Iterator[None]:
    """The board for the caller alone; `rest` passes the seconds between two looks while others are before it.

    `tell` hears when the caller has to wait, and when that is over. Raises what `rest` raises, and UnavailableError
    where the temporary folder cannot be used.
    """
    with _queue(board) as folder:
        number = max(_numbers(folder), default=0) + 1
        ticket = (folder / str(number)).open("xb")
        flock(ticket, LOCK_EX)
    try:
        if _is_before(board, number):
            tell(WAITING)
            while _is_before(board, number):
                rest(LOOK_EVERY_S)
            tell("measuring")
        yield
    finally:
        with _queue(board) as folder:
            ticket.close()
            (folder / str(number)).unlink(missing_ok=True)


def count_turns(board: str) -> int:
    """How many have or wait for their turn. Raises UnavailableError where the temporary folder cannot be used."""
    with _queue(board) as folder:
        return len(_numbers(folder))


def _is_before(board: str, number: int) -> bool:
    with _queue(board) as folder:
        return min(_numbers(folder), default=number) < number


def _numbers(folder: Path) -> list[int]:
    """The numbers in the queue; those of the dead are removed."""
    found = []
    for path in folder.iterdir():
        with path.open("rb") as file:
            try:
                flock(file, LOCK_SH | LOCK_NB)
            except BlockingIOError:
                found.append(int(path.name))
                continue
        path.unlink()
    return found


@contextmanager
def _queue(board: str) -> Iterator[Path]:
    """The folder of a board's numbers, locked. It is this user's: no other may lock it, or put anything there."""
    folder = Path(tempfile.gettempdir(), f"thrones-{os.getuid()}-{board}")
    try:
        handle = _lock(folder)
        try:
            yield folder
        finally:
            with suppress(OSError):  # others are in the queue
                folder.rmdir()
            os.close(handle)
    except OSError as error:
        raise no_temporary_folder(error) from error


def _lock(folder: Path) -> int:
    while True:
        with suppress(FileExistsError):  # `exist_ok` would raise where it is removed a moment later
            folder.mkdir(mode=0o700)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # whoever was there last has just removed it
            continue
        flock(handle, LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), folder.stat()):
                return handle
        os.close(handle)  # removed while we waited for it


def no_temporary_folder(error: OSError) -> UnavailableError:
    """What to raise where locks cannot be kept in the temporary folder."""
    return UnavailableError(
        f"temporary folder {tempfile.gettempdir()} cannot be used ({one_line(error)})",
        remedy="free space or set TMPDIR",
    )
