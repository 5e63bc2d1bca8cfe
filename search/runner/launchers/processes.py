"""Workers that are processes on this host."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from compress.errors import UsageError
from edge.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EdgeError
from search.progress import Progress

PARENT = "THRONES_PARENT"
"""Environment: the process that started a worker; where it is gone, the worker ends after its running trial."""
MAX_RESTARTS = 3
"""How often one worker is started again after it was killed."""
WATCH_S = 0.5


def worker_command(study: Path, options: Sequence[str]) -> list[str]:
    """Return the command line of one more worker."""
    return [sys.executable, "-m", "search", "worker", str(study.absolute()), *options]


def run_workers(command: Sequence[str], workers: int, progress: Progress) -> None:
    """Run workers on this host until all have ended; one that was killed is started again.

    Raises UsageError or EdgeError with the last line of the first worker where all have failed, KeyboardInterrupt
    after Ctrl-C.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    environment = {**os.environ, PARENT: str(os.getpid()), "OMP_NUM_THREADS": str(threads)}
    command = [*command, "--threads", str(threads)]
    started = [_Worker(number, command, environment, progress) for number in range(1, workers + 1)]
    try:
        while any([worker.is_running() for worker in started]):  # a list: each is asked, and so is started again
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        for worker in started:
            worker.interrupt()
        raise
    if all(worker.exit_code for worker in started):
        _raise_failure(started[0])


def _raise_failure(worker: "_Worker") -> None:
    reason = worker.last_line.removeprefix("thrones: ")
    if worker.exit_code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if worker.exit_code == EXIT_BAD_INPUT:
        raise UsageError(reason)
    raise EdgeError(f"no worker is left; the first one: {reason}")


class _Worker:
    """One process, whose lines are passed on under its number."""

    def __init__(
        self, number: int, command: Sequence[str], environment: Mapping[str, str], progress: Progress
    ) -> None:
        self._number = number
        self._command = command
        self._environment = environment
        self._progress = progress
        self._restarts = 0
        self.last_line = ""
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._pass_on, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _pass_on(self, lines: Any) -> None:
        for line in lines:
            self.last_line = line.rstrip()
            self._progress.line(f"[{self._number}] {self.last_line}")

    @property
    def exit_code(self) -> int | None:
        """Return the exit code; negative: the signal that killed it."""
        return self._process.returncode

    def is_running(self) -> bool:
        """Return True while it runs; start it again where it was killed."""
        code = self._process.poll()
        if code is None:
            return True
        self._reader.join()
        if code >= 0 or self._restarts == MAX_RESTARTS:
            return False
        self._restarts += 1
        name = signal.Signals(-code).name
        again = f"started again ({self._restarts} of {MAX_RESTARTS})"
        self._progress.line(f"[{self._number}] was killed ({name}); {again}")
        self._start()
        return True

    def interrupt(self) -> None:
        """Interrupt it as Ctrl-C does, and wait for its end: `kill` reaches one process alone, a terminal all."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        self._process.wait()
