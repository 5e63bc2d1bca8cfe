"""The commands of a study that many processes share: `worker` and `storage`, and what `run --workers` starts."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli.options import Artifacts, Base, Data, Devices, Meter, Runs, Storage, Study, Test

if TYPE_CHECKING:
    from search.config import StudyConfig
    from search.runner.study import Crew

workers_app = typer.Typer()
storage_app = typer.Typer(no_args_is_help=True, help="Where studies are kept: copy, upgrade, serve.")
workers_app.add_typer(storage_app, name="storage")


@workers_app.command(epilog="Example: thrones worker studies/fom.toml --storage postgresql://team@db/thrones")
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
        int | None, typer.Option("--threads", min=1, help="Of TensorFlow, whatever the study says.")
    ] = None,
) -> None:
    """Be one more worker of a study that `thrones run` has begun, until its time is over.

    From any host that reaches the storage, with the same version, data and kind of board. Ctrl-C ends it.
    """
    from rich.console import Console

    from search.candidate.resolve_dataset import study_and_data
    from search.config import overlaid
    from search.runner.workers import PARENT

    parent = os.environ.get(PARENT)
    if parent is not None:  # which has said already which keys of the study file are old
        logging.getLogger("search").setLevel(logging.ERROR)
    config, found = study_and_data(study, runs, data, test, base)
    config = overlaid(config, device=device, meter=meter, storage=storage, artifacts=artifacts)
    if threads is not None:
        config = config.model_copy(update={"training": config.training.model_copy(update={"threads": threads})})
    import optuna

    from search.progress import Progress
    from search.storage.artifacts import check_place
    from search.storage.study_state import load_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    load_study(config)  # what is wrong with the storage is told before TensorFlow loads
    check_place(config)  # nothing is trained that the other hosts could not get
    with Progress(Console(highlight=False, markup=False), config.budget.minutes) as progress:
        boss = None if parent is None else int(parent)
        if config.dry_run is not None:
            from search.runner.dry_run import join_rehearsal

            join_rehearsal(config, progress, boss)
        else:
            from search.runner.study import join_study

            join_study(config, found.data, progress, boss)


def crew_of(
    study: Path,
    config: "StudyConfig",
    same: Mapping[str, Any],
    devices: Sequence[str],
    workers: int,
    slurm: str | None,
) -> "Crew":
    """What `run` leaves the work to; `same` are the options that the workers are given as well.

    Raises UsageError for a meter that only one process can read, a storage that other hosts cannot reach, and where
    there is no Slurm.
    """
    from compress.errors import UsageError
    from search.runner.workers import run_here, run_submitted, slurm_executor, slurm_options, worker_command
    from search.storage.open import storage_url

    if not config.meter.startswith(("device:", "estimate:", "replay:")):
        raise UsageError(
            f"meter {config.meter} can be read by one process, and --workers {workers} are several; let it hang on the "
            "device: --meter device:"
        )
    options = [text for name, value in same.items() if value is not None for text in (name, _elsewhere(value))]
    options += [text for url in devices for text in ("--device", url)]
    command = worker_command(study, options)
    if slurm is None:
        return lambda progress, deadline_s: run_here(command, workers, progress)
    wanted = slurm_options(slurm)
    if storage_url(config).startswith("sqlite:"):
        raise UsageError("--slurm needs a storage that other hosts reach: --storage postgresql://USER@HOST/DATABASE")
    executor = slurm_executor(config.folder / "slurm", wanted)
    return lambda progress, deadline_s: run_submitted(executor, command, workers, progress, deadline_s)


def _elsewhere(value: Any) -> str:
    """An option's value for a process that may be started in another folder."""
    return str(value.absolute()) if isinstance(value, Path) else str(value)


@storage_app.command("copy", epilog="Example: thrones storage copy sqlite:///runs/fom/study.db postgresql://team@db/thrones")
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A storage's URL.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Another one's.")],
    study: Annotated[str | None, typer.Option("--study", help="Only the study of this name.")] = None,
    artifacts: Annotated[
        tuple[str, str] | None,
        typer.Option("--artifacts", metavar="FROM TO", help="Folders or s3://BUCKET: the models and windows as well."),
    ] = None,
) -> None:
    """Copy studies with their trials, notes and artifacts from one storage to another; what is there is kept."""
    from search.storage.migrate import copy_studies

    for line in copy_studies(source, target, study, artifacts):
        typer.echo(line)


@storage_app.command(epilog="Example: thrones storage upgrade sqlite:///runs/fom/study.db")
def upgrade(url: Annotated[str, typer.Argument(metavar="STORAGE", help="Its URL.")]) -> None:
    """Bring the tables of a database that an older Optuna made up to this one's."""
    from search.storage import open as storages

    typer.echo(f"{storages.shown(url)}: upgraded from {storages.upgrade(url)}")


@storage_app.command(epilog="Example: thrones storage serve postgresql://team@db/thrones --host 0.0.0.0")
def serve(
    url: Annotated[str, typer.Argument(metavar="STORAGE", help="The database's URL.")],
    host: Annotated[str, typer.Option("--host", help="Where to listen; 0.0.0.0: for other hosts.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 13000,
) -> None:
    """Be a gRPC proxy in front of a database, for many workers: they name grpc://HOST:PORT. There is no password."""
    from search.storage import open as storages

    storages.serve(url, host, port, lambda: typer.echo(f"grpc://{host}:{port} serves {storages.shown(url)}"))
