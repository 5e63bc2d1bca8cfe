"""The `thrones` command. Heavy imports stand inside the commands, so that `--help` comes at once."""

import gc
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from search.cli.cache_commands import cache_app
from search.cli.dashboard_commands import dashboard_app
from search.cli.data_commands import import_app
from search.cli.device_commands import rig_app
from search.cli.errors import fail, one_line
from search.cli.options import Artifacts, Base, Data, Devices, Json, Meter, Runs, Storage, Study, Test
from search.cli.submission_commands import milestones_app
from search.cli.worker_commands import workers_app

if TYPE_CHECKING:
    from rich.console import Console

    from search.config import StudyConfig
    from search.report.results import StudyResults

LAST = 30
"""`status` shows so many trials."""


class _Commands(TyperGroup):
    """All commands. A stray EOFError keeps its traceback: Typer would make the one word "Aborted." of it."""

    def invoke(self, ctx: Any) -> Any:  # Typer's own copy of click's Context, or click's, by its version
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise RuntimeError(f"something ended too early: {error or 'EOFError'}") from error


app = typer.Typer(
    name="thrones",
    cls=_Commands,
    help="Search for the compressed MobileNet-v1 that wins a road: lowest latency, lowest energy or highest FoM, "
    "with the accuracy that the rule asks for.",
    epilog="Example: thrones run studies/latency.toml, then thrones best studies/latency.toml",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(milestones_app)
app.add_typer(rig_app)
app.add_typer(import_app)
app.add_typer(dashboard_app)
app.add_typer(workers_app)
app.add_typer(cache_app)


@app.command(epilog="Example: thrones run studies/latency.toml --data ~/cifar-10-batches-py --minutes 30")
def run(
    study: Study,
    data: Data = None,
    test: Test = None,
    runs: Runs = Path("runs"),
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="End after so many minutes, whatever the study says.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="So many processes on this host, or with --slurm jobs.")
    ] = 1,
    slurm: Annotated[
        str | None, typer.Option("--slurm", help="Workers are jobs of this Slurm cluster: partition=gtx,time=4:00:00")
    ] = None,
    device: Devices = None,
    meter: Meter = None,
    storage: Storage = None,
    artifacts: Artifacts = None,
    base: Base = None,
    as_json: Json = False,
) -> None:
    """Run a study, or go on with it where it stopped; end with the best candidate beside the unpruned base.

    Ctrl-C stops it; the same command goes on. Nothing but the running trials is lost, and those are tried again.
    """
    if minutes is not None and not math.isfinite(minutes):
        fail(f"--minutes {minutes}: wanted a number of minutes")
    from search.candidate.resolve_dataset import study_and_data
    from search.config import overlaid

    config, found = study_and_data(study, runs, data, test, base)  # before the imports below, which take seconds
    if minutes is not None:
        config = config.model_copy(update={"budget": config.budget.model_copy(update={"minutes": minutes})})
    config = overlaid(config, device=device, meter=meter, storage=storage, artifacts=artifacts)
    crew = None
    if workers > 1 or slurm is not None:
        from search.cli.worker_commands import crew_of

        same = {"--data": data, "--test-deployment": test, "--runs": runs, "--meter": meter, "--base": base}
        same |= {"--storage": storage, "--artifacts": artifacts}
        crew = crew_of(study, config, same, device or [], workers, slurm)
    console = _console(as_json)
    console.print(f"Study {config.name}, road {config.road}, on {found}", soft_wrap=True)
    import optuna

    from search.progress import Progress
    from search.strategy.search_space import starting_params

    starting_params(config)  # what is wrong with the file or the folder is told before TensorFlow loads
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with Progress(console, config.budget.minutes) as progress:
        if config.dry_run is not None:
            from search.runner.dry_run import run_rehearsal

            finished = run_rehearsal(config, progress, crew)
        else:
            from search.runner.study import run_study

            finished = run_study(config, found.data, progress, crew)
    results = _report(finished, config)
    if as_json:
        _print_json(results)
    elif config.grid is not None:
        console.print(f"next: thrones table {study}", soft_wrap=True)
    else:
        _show(console, results, config)
    console.print(f"This was {found}", soft_wrap=True)


@app.command(epilog="Example: thrones status studies/latency.toml")
def status(study: Study, runs: Runs = Path("runs"), storage: Storage = None, as_json: Json = False) -> None:
    """Show how far a study is: its trials, the best so far, and why the others were given up."""
    if as_json:
        _print_json(_results(study, runs, storage)[0])
        return
    gc.disable()  # a short life, mostly imports: looking for what might be freed takes a quarter of it
    from search.report.load_results import glance
    from search.report.tables import trials_table

    _console().print(trials_table(glance(*_stored(study, runs, storage), LAST), LAST))
    gc.freeze()  # nor at its end


@app.command(epilog="Example: thrones best studies/latency.toml --out model.tflite")
def best(
    study: Study,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    artifacts: Artifacts = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the best model's .tflite there.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--results", help="Write model, figures, table and report into this folder, to commit."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the best candidate beside the unpruned base, layer by layer, and write its .tflite with --out.

    With --results all that is worth keeping of it goes into a folder, without anything that names this machine.
    """
    results, stored, config = _results(study, runs, storage, artifacts)
    if results.best is None:
        fail(f"{study}: no trial keeps the rule yet; go on with `thrones run {study}`")
    if out is not None:
        from compress.io import write_at_once
        from search.storage.artifacts import read_artifact

        key = stored.trials[results.best_trial].user_attrs["artifact model.tflite"]
        write_at_once(out, read_artifact(config, key))
    kept = []
    if folder is not None:
        from search.report.export import write_results

        kept = write_results(folder, study, stored, config, results)
    if as_json:
        _print_json(results)
        return
    from search.report.tables import comparison_table, layers_table

    console = _console()
    console.print(comparison_table(results), layers_table(results))
    if out is not None:
        console.print(f"wrote {out}")
    for line in kept:
        console.print(line, soft_wrap=True)


@app.command(epilog="Example: thrones report studies/latency.toml")
def report(study: Study, runs: Runs = Path("runs"), storage: Storage = None) -> None:
    """Write the study's report.html and trials.csv anew, also while the study runs."""
    from search.config import load_config, overlaid
    from search.storage.study_state import load_study

    config = overlaid(load_config(study, runs), storage=storage)
    _report(load_study(config), config)
    typer.echo(f"{config.folder / 'report.html'}\n{config.folder / 'trials.csv'}")


@app.command(epilog="Example: thrones pretrain --data ~/cifar-10-batches-py --out mine.npz")
def pretrain(
    name: Annotated[str, typer.Argument(metavar="DATA", help="cifar10, digits or the path of an .npz.")] = "cifar10",
    data: Data = None,
    out: Annotated[Path, typer.Option("--out", help="Where the weights go; .json beside it.")] = Path("base.npz"),
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Train the unpruned base from nothing; a killed run goes on after its last whole epoch.

    On CIFAR-10 this takes an hour or two on two cores.
    """
    from compress.training.pretrain import cycles_for
    from compress.training.pretrain import pretrain as train_base
    from search.candidate.resolve_dataset import find
    from search.progress import Progress

    console = _console()
    images = find(name, data).data
    cycles = cycles_for(images)
    epochs = sum(cycle.epochs for cycle in cycles)
    console.print(f"training the base on {images.name} from {images.source}: {epochs} epochs", soft_wrap=True)
    with Progress(console, 0) as progress:
        def show(epoch: Any) -> None:
            progress.line(f"epoch {epoch.number:3d}/{epochs}  loss {epoch.loss:.3f}  {epoch.accuracy:.2f} %")
            progress.phase(f"epoch {epoch.number + 1}/{epochs}")

        result = train_base(images, out, cycles, seed, show)
    console.print(
        f"{out}: {result.test_accuracy:.2f} % on {len(images.test[0]):,} test images, "
        f"{result.validation_accuracy:.2f} % on the validation images, {result.seconds / 60:.0f} minutes",
        soft_wrap=True,
    )


@app.command(epilog="Example: thrones data --data ~/cifar-10-batches-py")
def data(
    name: Annotated[str, typer.Argument(metavar="DATA", help="cifar10, digits or the path of an .npz.")] = "cifar10",
    data: Data = None,
    test: Test = None,
    as_json: Json = False,
) -> None:
    """Show where CIFAR-10 was looked for, what was found, and how the images are split."""
    from compress.datasets.dataset import places
    from search.candidate.resolve_dataset import find

    looked = places(data) if name == "cifar10" else []
    if not as_json:  # before the search, so that they are told where it fails
        for what, path, there in looked:
            typer.echo(f"{'found  ' if there else 'nothing'}  {what}: {path}")
    found = find(name, data, test)
    images = found.data
    counts = {"train": len(images.train[0]), "validation": len(images.validation[0]), "test": len(images.test[0])}
    if as_json:
        asked = [{"place": what, "path": str(path), "found": there} for what, path, there in looked]
        about = {"looked": asked, "data": images.name, "source": images.source, "key": images.key, "images": counts}
        typer.echo(json.dumps(about, indent=1))
        return
    typer.echo(found)
    typer.echo(", ".join(f"{count:,} {part}" for part, count in counts.items()) + f" images; key {images.key}")


def main() -> None:
    """Run the command; bad input ends with one line and exit code 2."""
    with one_line():
        app()


def _console(to_stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=to_stderr, highlight=False, markup=False)  # markup would swallow [budget]


def _results(
    study: Path, runs: Path, storage: str | None, artifacts: str | None = None
) -> "tuple[StudyResults, Any, StudyConfig]":
    stored, config = _stored(study, runs, storage, artifacts)
    from search.report.load_results import collect

    return collect(stored, config), stored, config


def _stored(study: Path, runs: Path, storage: str | None, artifacts: str | None = None) -> "tuple[Any, StudyConfig]":
    from search.config import load_config, overlaid

    config = overlaid(load_config(study, runs), storage=storage, artifacts=artifacts)
    from search.storage.study_state import load_study

    return load_study(config), config


def _report(study: Any, config: "StudyConfig") -> "StudyResults":
    from search.report.load_results import collect
    from search.report.pages.study_page import write_csv, write_report

    results = collect(study, config)
    write_report(results, config.folder)
    write_csv(results, config.folder)
    return results


def _show(console: "Console", results: "StudyResults", config: "StudyConfig") -> None:
    from search.report.tables import comparison_table

    console.print(comparison_table(results))
    if results.best is None and any(trial.state != "WAITING" for trial in results.trials):
        console.print("no trial kept the rule; run the same command again to go on, or raise [budget]")
    console.print(f"report: {config.folder / 'report.html'}", soft_wrap=True)


def _print_json(results: "StudyResults") -> None:
    from search.report.tables import figures_dict

    typer.echo(json.dumps(figures_dict(results), indent=1))
