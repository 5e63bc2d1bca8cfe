"""First come, first served: two processes on one machine never measure or predict at the same time.

Each process holds a lock (flock) on a numbered file; the kernel releases it when the process dies, so
that one that was killed leaves the queue. The folder of the files is locked while a number is drawn or
read. It is removed with the last file.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path

from edge.errors import UnavailableError, one_line
from edge.measuring.status import MEASURING, WAITING_FOR_DEVICE, DeviceStatus, ignore

POLL_S = 0.02


@contextmanager
def exclusive_device(
    name: str,
    sleep: Callable[[float], object],
    on_status: Callable[[DeviceStatus], object] = ignore,
) -> Iterator[None]:
    """Wait until the caller is first in the queue of the device `name`, and hold it.

    Args:
        name: of the device, the same in all processes of this user.
        sleep: passes the seconds between two looks at the queue; it may raise, to leave the queue.
        on_status: hears when the caller has to wait, and when that is over.

    Raises:
        UnavailableError: the temporary folder cannot be used.
    """
    with _queue(name) as folder:
        number = max(_numbers(folder), default=0) + 1
        ticket = (folder / str(number)).open("xb")
        flock(ticket, LOCK_EX)
    try:
        if _is_behind_others(name, number):
            on_status(WAITING_FOR_DEVICE)
            while _is_behind_others(name, number):
                sleep(POLL_S)
            on_status(MEASURING)
        yield
    finally:
        with _queue(name) as folder:
            ticket.close()
            (folder / str(number)).unlink(missing_ok=True)


def count_jobs(name: str) -> int:
    """Return how many hold the device or wait for it. Raises UnavailableError as `exclusive_device` does."""
    with _queue(name) as folder:
        return len(_numbers(folder))


def _is_behind_others(name: str, number: int) -> bool:
    with _queue(name) as folder:
        return min(_numbers(folder), default=number) < number


def _numbers(folder: Path) -> list[int]:
    """Return the numbers in the queue, and remove those of processes that died."""
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
def _queue(name: str) -> Iterator[Path]:
    """Lock the folder of a device's numbers. It is this user's: no other can lock it or put anything there."""
    folder = Path(tempfile.gettempdir(), f"thrones-{os.getuid()}-{name}")
    try:
        handle = _lock(folder)
        try:
            yield folder
        finally:
            with suppress(OSError):  # others are in the queue
                folder.rmdir()
            os.close(handle)
    except OSError as error:
        raise unusable_temporary_folder(error) from error


def _lock(folder: Path) -> int:
    while True:
        with suppress(FileExistsError):  # `exist_ok` would raise where it is removed a moment later
            folder.mkdir(mode=0o700)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # the last one in the queue has just removed it
            continue
        flock(handle, LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), folder.stat()):
                return handle
        os.close(handle)  # removed while we waited for it


def unusable_temporary_folder(error: OSError) -> UnavailableError:
    """Return the error to raise where locks cannot be kept in the temporary folder."""
    return UnavailableError(
        f"temporary folder {tempfile.gettempdir()} cannot be used ({one_line(error)})",
        remedy="free space or set TMPDIR",
    )
