"""Several workers of one study: processes on this host, or jobs of a Slurm cluster through submitit.

Each is the command `thrones worker`, as anybody may start it by hand.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import submitit

from compress.errors import UsageError
from edge.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EdgeError
from search.progress import Progress

PARENT = "THRONES_PARENT"
"""Environment: the process that a worker works for; where it is gone, the worker ends after its running trial."""
RESTARTS = 3
"""So often one worker is started again after it was killed."""
WATCH_S = 0.5
SLURM_WATCH_S = 15.0
LATE_S = 3600.0
"""What a worker may take after the budget's end: the trial that it is at."""


def worker_command(study: Path, options: Sequence[str]) -> list[str]:
    """The command line of one more worker."""
    return [sys.executable, "-m", "search", "worker", str(study.absolute()), *options]


def run_here(command: Sequence[str], workers: int, progress: Progress) -> None:
    """Run so many workers on this host until all have ended; one that was killed is started again.

    Raises UsageError or EdgeError with the last words of the first worker where all have failed, KeyboardInterrupt
    after Ctrl-C.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    environment = {**os.environ, PARENT: str(os.getpid()), "OMP_NUM_THREADS": str(threads)}
    command = [*command, "--threads", str(threads)]
    crew = [_Worker(number, command, environment, progress) for number in range(1, workers + 1)]
    try:
        while any([worker.works() for worker in crew]):  # a list: each is asked, or a killed one would stay dead
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        for worker in crew:
            worker.interrupt()
        raise
    if all(worker.code for worker in crew):
        reason = crew[0].last_line.removeprefix("thrones: ")
        if crew[0].code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
        if crew[0].code == EXIT_BAD_INPUT:
            raise UsageError(reason)
        raise EdgeError(f"no worker is left; the first one: {reason}")


class _Worker:
    """One process, whose lines are passed on under its number."""

    def __init__(
        self, number: int, command: Sequence[str], environment: Mapping[str, str], progress: Progress
    ) -> None:
        self._number, self._command, self._environment, self._progress = number, command, environment, progress
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
    def code(self) -> int | None:
        """The exit code; negative: the signal that killed it."""
        return self._process.returncode

    def works(self) -> bool:
        """Whether it runs; starts it again where it was killed."""
        code = self._process.poll()
        if code is None:
            return True
        self._reader.join()
        if code >= 0 or self._restarts == RESTARTS:
            return False
        self._restarts += 1
        name = signal.Signals(-code).name
        self._progress.line(f"[{self._number}] was killed ({name}); started again ({self._restarts} of {RESTARTS})")
        self._start()
        return True

    def interrupt(self) -> None:
        """As Ctrl-C does, which a terminal sends to all processes and `kill` to one alone; wait for the end."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        self._process.wait()


def slurm_options(text: str) -> dict[str, str]:
    """`partition=gtx,time=4:00:00` as a dictionary. Raises UsageError for anything else."""
    options = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not (key and equals and value):
            raise UsageError(f"--slurm {text!r}: {part!r} is not KEY=VALUE; an example: partition=gtx,time=4:00:00")
        options[key.replace("-", "_")] = value
    return options


def slurm_executor(folder: Path, options: Mapping[str, str]) -> submitit.Executor:
    """Submits to this cluster; what submitit has no word for is handed to sbatch as it is.

    Raises UsageError where there is no Slurm.
    """
    if shutil.which("sbatch") is None:
        raise UsageError(
            "--slurm: there is no sbatch here; log in to the cluster's login node, or leave --slurm out: "
            "--workers then starts processes on this host"
        )
    executor = submitit.SlurmExecutor(folder=folder)
    known = submitit.SlurmExecutor._valid_parameters()
    additional = {key.replace("_", "-"): value for key, value in options.items() if key not in known}
    given: dict[str, Any] = {key: value for key, value in options.items() if key in known}
    executor.update_parameters(job_name="thrones", **given, additional_parameters=additional)
    return executor


def run_submitted(
    executor: submitit.Executor,
    command: Sequence[str],
    workers: int,
    progress: Progress,
    deadline_s: float,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Submit so many workers and wait until all have ended, or long after the budget did; Ctrl-C cancels them.

    Raises UsageError when none of them could begin.
    """
    with executor.batch():
        jobs = [executor.submit(submitit.helpers.CommandFunction(list(command), verbose=False)) for _ in range(workers)]
    progress.line(f"submitted {', '.join(job.job_id for job in jobs)}; their lines: {jobs[0].paths.folder}")
    try:
        while not all(job.done() for job in jobs) and time.monotonic() < deadline_s + LATE_S:
            progress.phase(f"{sum(not job.done() for job in jobs)} jobs at work or in the queue")
            sleep(SLURM_WATCH_S)
    except KeyboardInterrupt:
        for job in jobs:
            job.cancel()
        raise
    failed = [job for job in jobs if job.done() and job.exception() is not None]
    for job in failed:
        progress.line(f"job {job.job_id} failed: {_last_line(job.stderr())}")
    if len(failed) == len(jobs):
        raise UsageError(f"no job could work: {_last_line(failed[0].stderr())}")


def _last_line(text: str | None) -> str:
    lines = [line for line in (text or "").splitlines() if "thrones: " in line] or (text or "no word").splitlines()
    return lines[-1].strip()
