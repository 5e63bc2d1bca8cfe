"""Who works on a study on this host."""

import fcntl
from pathlib import Path

from compress.errors import UsageError


class StudyLock:
    """A lock on a study's folder: workers share it, and a run holds it alone while it begins.

    The kernel releases it when the process ends. Use it in a `with`; it makes the folder.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "study.lock"

    def __enter__(self) -> "StudyLock":
        self._file = self._path.open("a")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def hold_alone(self) -> None:
        """Keep every other process out of the study. Raises UsageError when one works on it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"{self._path} is held by another run of this study; wait for it, stop it, or join it with "
                "`thrones worker`"
            ) from error

    def share(self) -> None:
        """Let others join, or join them."""
        fcntl.flock(self._file, fcntl.LOCK_SH)
