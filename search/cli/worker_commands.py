"""The command `worker`, and the workers that `run --workers` starts."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.console import make_console
from search.cli.options import Artifacts, Base, Data, Devices, Meter, Runs, Storage, Study, Test

if TYPE_CHECKING:
    from search.config import StudyConfig
    from search.runner.study import WorkerLauncher

worker_commands = typer.Typer()


@worker_commands.command(epilog="Example: thrones worker studies/fom.toml --storage postgresql://team@db/thrones")
def worker(
    study: Study,
    data: Data = None,
    test: Test = None,
    runs: Runs = Path("runs"),
    device: Devices = None,
    meter: Meter = None,
    storage: Storage = None,
    artifacts: Artifacts = None,
    base: Base = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="TensorFlow's threads, in place of the study file's.")
    ] = None,
) -> None:
    """Join a study that `thrones run` has started as one more worker, until its budget ends.

    This works from any host that reaches the storage. It needs the same version, data and kind of device. Ctrl-C ends
    it.
    """
    from search.candidate.inputs.resolve_dataset import resolve_study
    from search.config import overlaid
    from search.runner.launchers.processes import PARENT

    parent = os.environ.get(PARENT)
    parent_pid = None if parent is None else int(parent)
    if parent_pid is not None:  # which has already warned about old keys in the study file
        logging.getLogger("search").setLevel(logging.ERROR)
    config, found = resolve_study(study, runs, data, test, base)
    config = overlaid(config, device=device, meter=meter, storage=storage, artifacts=artifacts)
    if threads is not None:
        config = config.model_copy(update={"training": config.training.model_copy(update={"threads": threads})})
    import optuna

    from search.progress import Progress
    from search.storage.artifacts import check_place
    from search.storage.open_storage import load_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    load_study(config)  # reports a wrong storage before TensorFlow loads
    check_place(config)  # nothing is trained that the other hosts could not read
    with Progress(make_console(), config.budget.minutes) as progress:
        if config.dry_run is not None:
            from search.runner.dry_run import work_on_dry_run

            work_on_dry_run(config, progress, parent_pid)
        else:
            from search.runner.study import work_on_study

            work_on_study(config, found.data, progress, parent_pid)


def build_launcher(
    study: Path,
    config: "StudyConfig",
    options: Mapping[str, str | Path | None],
    devices: Sequence[str],
    workers: int,
    slurm: str | None,
) -> "WorkerLauncher":
    """Return the function with which `run` starts its workers and waits for them.

    Args:
        study: The study file.
        config: Its content.
        options: Options of `run` that its workers get as well; None: not given.
        devices: The URLs of all `--device` options.
        workers: The number of workers.
        slurm: The text of `--slurm`; None: the workers are processes on this host.

    Raises:
        UsageError: For a meter that only one process can read, a storage that other hosts cannot reach, and where
            there is no Slurm.
    """
    from edge.errors import UsageError
    from search.runner.launchers.processes import run_workers, worker_command
    from search.runner.launchers.slurm import run_submitted, slurm_executor, slurm_options
    from search.storage.urls import SQLITE, storage_url

    if not config.meter.startswith(("device:", "estimate:", "replay:")):
        raise UsageError(
            f"meter {config.meter} can be read by one process, not by {workers} workers; connect it to the device and "
            "give --meter device:"
        )
    arguments = []
    for name, value in options.items():
        if value is not None:
            arguments += [name, _absolute(value)]
    for url in devices:
        arguments += ["--device", url]
    command = worker_command(study, arguments)
    if slurm is None:
        return lambda progress, deadline_s: run_workers(command, workers, progress)
    wanted = slurm_options(slurm)
    if storage_url(config).startswith(SQLITE):
        raise UsageError("--slurm needs a storage that other hosts reach: --storage postgresql://USER@HOST/DATABASE")
    executor = slurm_executor(config.folder / "slurm", wanted)
    return lambda progress, deadline_s: run_submitted(executor, command, workers, progress, deadline_s)


def _absolute(value: str | Path) -> str:
    """Return an option's value for a process that may be started in another folder."""
    return str(value.absolute()) if isinstance(value, Path) else value
