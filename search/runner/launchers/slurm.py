"""Workers that are jobs of a Slurm cluster, through submitit."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import submitit

from compress.errors import UsageError
from search.adapters.submitit_slurm import split_options
from search.progress import Progress

WATCH_S = 15.0
MAX_LATE_S = 3600.0
"""How long a worker may take after the budget's end: it finishes its trial."""


def slurm_options(text: str) -> dict[str, str]:
    """Return `partition=gtx,time=4:00:00` as a dictionary. Raises UsageError for anything else."""
    options = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not (key and equals and value):
            raise UsageError(f"--slurm {text!r}: {part!r} is not KEY=VALUE; an example: partition=gtx,time=4:00:00")
        options[key.replace("-", "_")] = value
    return options


def slurm_executor(folder: Path, options: Mapping[str, str]) -> submitit.Executor:
    """Return what submits to this cluster. Raises UsageError where there is no Slurm."""
    if shutil.which("sbatch") is None:
        raise UsageError(
            "--slurm: there is no sbatch here; log in to the cluster's login node, or leave --slurm out: "
            "--workers then starts processes on this host"
        )
    executor = submitit.SlurmExecutor(folder=folder)
    named, others = split_options(options)
    executor.update_parameters(job_name="thrones", **named, additional_parameters=others)
    return executor


def run_submitted(
    executor: submitit.Executor,
    command: Sequence[str],
    workers: int,
    progress: Progress,
    deadline_s: float,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Submit workers and wait until all have ended, or long after the budget did; Ctrl-C cancels them.

    Args:
        executor: Submits the jobs.
        command: The command line of a worker.
        workers: How many are submitted.
        progress: Who shows what is done.
        deadline_s: `time.monotonic()` when the budget ends.
        sleep: Waits for some seconds.

    Raises:
        UsageError: None of them could begin.
    """
    function = submitit.helpers.CommandFunction(list(command), verbose=False)
    with executor.batch():
        jobs = [executor.submit(function) for _ in range(workers)]
    progress.line(f"submitted {', '.join(job.job_id for job in jobs)}; their lines: {jobs[0].paths.folder}")
    try:
        while not all(job.done() for job in jobs) and time.monotonic() < deadline_s + MAX_LATE_S:
            progress.phase(f"{sum(not job.done() for job in jobs)} jobs run or wait in the queue")
            sleep(WATCH_S)
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
    lines = (text or "").splitlines()
    ours = [line for line in lines if "thrones: " in line]
    last = (ours or lines or ["no output"])[-1]
    return last.strip()
