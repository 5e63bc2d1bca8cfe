"""The commands of one study: `run`, `status`, `best`, `report`."""

import gc
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli.console import make_console, print_json
from search.cli.exit_handling import fail
from search.cli.options import Artifacts, Base, Data, Devices, Json, Meter, Runs, Storage, Study, Test

if TYPE_CHECKING:
    from rich.console import Console

    from search.config import StudyConfig
    from search.report.results import StudyResults

study_commands = typer.Typer()
MAX_STATUS_TRIALS = 30


@study_commands.command(epilog="Example: thrones run studies/latency.toml --data ~/cifar-10-batches-py --minutes 30")
def run(
    study: Study,
    data: Data = None,
    test: Test = None,
    runs: Runs = Path("runs"),
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="The budget, in place of the study file's.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="The number of worker processes on this host; with --slurm: jobs.")
    ] = 1,
    slurm: Annotated[
        str | None, typer.Option("--slurm", help="Run the workers as Slurm jobs: partition=gtx,time=4:00:00")
    ] = None,
    device: Devices = None,
    meter: Meter = None,
    storage: Storage = None,
    artifacts: Artifacts = None,
    base: Base = None,
    as_json: Json = False,
) -> None:
    """Run a study, or resume it. At the end, show the best candidate beside the unpruned base.

    Ctrl-C stops it; the same command resumes it. Only the running trials are lost, and they are tried again.
    """
    if minutes is not None and not math.isfinite(minutes):
        fail(f"--minutes {minutes}: wanted a number of minutes")
    from search.candidate.inputs.resolve_dataset import resolve_study
    from search.config import overlaid

    config, found = resolve_study(study, runs, data, test, base)  # before the imports below, which take seconds
    if minutes is not None:
        config = config.model_copy(update={"budget": config.budget.model_copy(update={"minutes": minutes})})
    config = overlaid(config, device=device, meter=meter, storage=storage, artifacts=artifacts)
    launcher = None
    if workers > 1 or slurm is not None:
        from search.cli.worker_commands import build_launcher

        options = {
            "--data": data,
            "--test-deployment": test,
            "--runs": runs,
            "--meter": meter,
            "--base": base,
            "--storage": storage,
            "--artifacts": artifacts,
        }
        launcher = build_launcher(study, config, options, device or [], workers, slurm)
    console = make_console(as_json)
    console.print(f"Study {config.name}, road {config.road}, on {found}", soft_wrap=True)
    import optuna

    from search.progress import Progress
    from search.strategy.search_space import initial_params

    initial_params(config)  # reports a wrong file or folder before TensorFlow loads
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with Progress(console, config.budget.minutes) as progress:
        if config.dry_run is not None:
            from search.runner.dry_run import run_dry_run

            finished = run_dry_run(config, progress, launcher)
        else:
            from search.runner.study import run_study

            finished = run_study(config, found.data, progress, launcher)
    results = _write_report(finished, config)
    if as_json:
        _print_figures(results)
    elif config.grid is not None:
        console.print(f"next: thrones table {study}", soft_wrap=True)
    else:
        show_results(console, results, config)
        console.print(f"next: thrones status {study}, thrones best {study} --out model.tflite", soft_wrap=True)
    console.print(f"This was {found}", soft_wrap=True)


@study_commands.command(epilog="Example: thrones status studies/latency.toml")
def status(study: Study, runs: Runs = Path("runs"), storage: Storage = None, as_json: Json = False) -> None:
    """Show the progress of a study: its trials, the best one so far, and why others were pruned."""
    if as_json:
        _print_figures(_load_results(study, runs, storage)[0])
        return
    gc.disable()  # collecting garbage takes 25 % of this short-lived command
    from search.report.load_results import load_summary
    from search.report.tables import trials_table

    stored, config = _load_study(study, runs, storage)
    make_console().print(trials_table(load_summary(stored, config, MAX_STATUS_TRIALS), MAX_STATUS_TRIALS))
    gc.freeze()  # the interpreter's own collection at exit finds nothing to look at


@study_commands.command(epilog="Example: thrones best studies/latency.toml --out model.tflite")
def best(
    study: Study,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    artifacts: Artifacts = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the best model's .tflite to this file.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--results", help="Write model, figures, table and report into this folder, to commit."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the best candidate beside the unpruned base, layer by layer; --out writes its .tflite.

    --results writes everything worth keeping into a folder. Nothing in it names this machine.
    """
    results, stored, config = _load_results(study, runs, storage, artifacts)
    if results.best is None:
        fail(f"{study}: no trial meets the accuracy constraint yet; continue with `thrones run {study}`")
    if out is not None:
        from compress.io import atomic_write
        from search.storage.artifacts import read_artifact
        from search.storage.trial_record import MODEL

        key = results.trials[results.best_trial or 0].artifacts[MODEL]
        atomic_write(out, read_artifact(config, key))
    written = []
    if folder is not None:
        from search.report.export import write_results

        written = write_results(folder, study, stored, config, results)
    if as_json:
        _print_figures(results)
        return
    from search.report.tables import comparison_table, layers_table

    console = make_console()
    console.print(comparison_table(results), layers_table(results))
    if out is not None:
        console.print(f"wrote {out}")
    for line in written:
        console.print(line, soft_wrap=True)


@study_commands.command(epilog="Example: thrones report studies/latency.toml")
def report(study: Study, runs: Runs = Path("runs"), storage: Storage = None) -> None:
    """Write the study's report.html and trials.csv again; this works while the study runs."""
    stored, config = _load_study(study, runs, storage)
    _write_report(stored, config)
    typer.echo(f"{config.folder / 'report.html'}\n{config.folder / 'trials.csv'}")


def show_results(console: "Console", results: "StudyResults", config: "StudyConfig") -> None:
    """Print the final comparison of a study, and where its report is."""
    from search.report.tables import comparison_table

    console.print(comparison_table(results))
    if results.best is None and any(trial.state.name != "WAITING" for trial in results.trials):
        console.print("no trial meets the accuracy constraint; run the same command again, or raise [budget]")
    console.print(f"report: {config.folder / 'report.html'}", soft_wrap=True)


def _load_study(
    study: Path, runs: Path, storage: str | None, artifacts: str | None = None
) -> "tuple[Any, StudyConfig]":
    from search.config import load_config, overlaid

    config = overlaid(load_config(study, runs), storage=storage, artifacts=artifacts)
    from search.storage.open_storage import load_study  # after the file is checked: this import takes a second

    return load_study(config), config


def _load_results(
    study: Path, runs: Path, storage: str | None, artifacts: str | None = None
) -> "tuple[StudyResults, Any, StudyConfig]":
    stored, config = _load_study(study, runs, storage, artifacts)
    from search.report.load_results import load_results

    return load_results(stored, config), stored, config


def _write_report(study: Any, config: "StudyConfig") -> "StudyResults":
    from search.report.load_results import load_results
    from search.report.machine_readable import write_csv
    from search.report.pages.study_page import write_report

    results = load_results(study, config)
    write_report(results, config.folder)
    write_csv(results, config.folder)
    return results


def _print_figures(results: "StudyResults") -> None:
    from search.report.machine_readable import results_dict

    print_json(results_dict(results))
