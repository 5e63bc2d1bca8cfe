"""The commands about a team's submission: `table`, `replay`, `submit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import EXIT_FAULT
from search.cli.console import make_console
from search.cli.exit_handling import fail
from search.cli.options import Artifacts, Base, Data, Device, Meter, Runs, Storage, Study, Test, by_name
from search.report.formatting import pluralize

if TYPE_CHECKING:
    from compress.datasets.dataset import Dataset
    from search.config import StudyConfig

submission_commands = typer.Typer()


@submission_commands.command(epilog="Example: thrones run m1, then thrones table m1 --out studies/results/m1")
def table(
    study: Study,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder for the files. Default: runs/<study>/.")] = None,
) -> None:
    """Show Table 1 or 2 of a grid study, and write it as Markdown, CSV and PowerPoint.

    While the study runs, the table has the rows that are complete.
    """
    from search.config import load_config, overlaid
    from search.submission import grid_table
    from search.submission.tables import render

    config = overlaid(load_config(study, runs), storage=storage)
    found = grid_table.read_table(config, grid_table.first_of(config, study))
    console = make_console()
    console.print(render.terminal_table(found.title, found.rows))
    for line in found.left_out:
        console.print(line, soft_wrap=True)
    if found.missing:
        missing = f"{pluralize(len(found.missing), 'row')} missing, the first: {found.missing[0]}"
        console.print(f"{missing}; continue with `thrones run {study}`", soft_wrap=True)
    for path in grid_table.write_tables(out or config.folder, found, study.name):
        console.print(f"wrote {path}", soft_wrap=True)


@submission_commands.command(
    epilog="Example: thrones replay latency --device ssh://pi@raspberrypi.local --meter device:"
)
def replay(
    study: Annotated[
        Path,
        typer.Argument(
            metavar="STUDY",
            help="A study, or a folder with a winner: studies/results/latency, an unpacked M3 zip.",
            callback=by_name,
        ),
    ],
    trial: Annotated[int | None, typer.Option("--trial", help="Another trial than the best.")] = None,
    runs: Runs = Path("runs"),
    plan: Annotated[
        str,
        typer.Option("--plan", help="The measurement protocol; final: five windows of 10 s and three passes a run."),
    ] = "final",
    times: Annotated[
        int, typer.Option("--times", min=1, help="The number of runs; the rules require at least three.")
    ] = 3,
    rebuild: Annotated[bool, typer.Option(help="Build the model again from its specification.")] = True,
    data: Data = None,
    test: Test = None,
    device: Device = None,
    meter: Meter = None,
    storage: Storage = None,
    artifacts: Artifacts = None,
    base: Base = None,
) -> None:
    """Build a winner again from its specification, verify it image by image, measure it by the rules: Table 3.

    A study that was never run here is taken from studies/results. The results go to runs/<study>/replay/, where
    `thrones submit m3` finds them.
    """
    from search.candidate.inputs.resolve_dataset import resolve_dataset
    from search.submission.winner import find_winner

    winner = find_winner(
        study, runs, trial, device=device, meter=meter, storage=storage, artifacts=artifacts, base=base
    )
    config = winner.config
    images = resolve_dataset(config.data, data, test)
    console = make_console()
    console.print(f"Replay of {winner.where}, road {config.road}, on {images}", soft_wrap=True)
    from search.progress import Progress
    from search.storage.lock import StudyLock

    with StudyLock(config.folder) as lock, Progress(console, 0) as progress:
        lock.hold_alone()
        from search.submission import reproduction
        from search.submission.reproduce import reproduce
        from search.submission.tables.render import table3_terminal

        found = reproduce(winner, images.data, progress, plan_name=plan, runs=times, rebuild=rebuild)
        folder = config.folder / reproduction.FOLDER
        reproduction.write_reproduction(folder, winner, found)
    console.print(table3_terminal(f"Table 3 ({config.name})", reproduction.table3(found)))
    if found.differing:
        console.print(f"{len(found.differing)} images that host and device label differently:")
        for each in found.differing:
            console.print(f"  image {each.image}: label {each.label}, host {each.host}, device {each.device}")
    for line in reproduction.warnings(found):
        console.print(f"warning: {line}", soft_wrap=True)
    console.print(f"wrote {folder}; next: thrones submit m3 --road {config.name}", soft_wrap=True)


@submission_commands.command(epilog='Example: thrones submit m3 --road latency --team 7 --members "Ann, Bob"')
def submit(
    milestone: Annotated[str, typer.Argument(metavar="[m1|m2|m3]", help="The milestone to pack.")] = "",
    team: Annotated[str, typer.Option("--team", help="The team's number, part of the file's name.")] = "",
    members: Annotated[str, typer.Option("--members", help='Names for the slides: "Ann, Bob".')] = "",
    road: Annotated[str, typer.Option("--road", help="For m3: the study, such as latency, energy, fom.")] = "",
    video: Annotated[Path | None, typer.Option("--video", help="For m1 and m2: at most four minutes.")] = None,
    out: Annotated[Path, typer.Option("--out", help="The folder for the zip.")] = Path(),
    zip_file: Annotated[
        Path | None, typer.Option("--check", metavar="FILE.zip", help="Only check this zip, whoever made it.")
    ] = None,
    runs: Runs = Path("runs"),
    data: Data = None,
    test: Test = None,
    storage: Storage = None,
    base: Base = None,
) -> None:
    """Pack M1_<team>.zip, M2_<team>.zip or M3_<team>.zip with model, slides, code and figures. It is checked first.

    m1 and m2 need their whole grid (`thrones run m1`), m3 needs a replay (`thrones replay latency`).
    """
    if zip_file is None:
        _check_options(milestone, team, members, road)  # before the imports below, which take seconds
    from edge.diagnostics import WRONG, as_line
    from search.candidate.inputs.resolve_dataset import resolve_dataset
    from search.submission import submit as submitting

    def images_of(config: "StudyConfig | None") -> "Dataset":
        return resolve_dataset(config.data if config else "cifar10", data, test).data

    if zip_file is not None:
        is_wrong = False
        for finding in submitting.check_zip(zip_file, runs, images_of):
            typer.echo(as_line(finding))
            is_wrong = is_wrong or finding.verdict == WRONG
        raise typer.Exit(EXIT_FAULT if is_wrong else 0)
    from search.config import load_config, overlaid

    study = by_name(Path(road if milestone == "m3" else milestone))
    config = overlaid(load_config(study, runs), storage=storage, base=base)
    path, findings = submitting.submit(
        milestone,
        study,
        config,
        lambda packed: images_of(config),  # the packed study file is elsewhere, so its paths are not found
        out,
        team=team,
        members=members,
        video=video,
    )
    for finding in findings:
        typer.echo(as_line(finding))
    typer.echo(f"wrote {path}")


def _check_options(milestone: str, team: str, members: str, road: str) -> None:
    """End the command where an option of `submit` is missing or does not fit the milestone."""
    if milestone not in ("m1", "m2", "m3"):
        fail(f"submit takes m1, m2 or m3, got {milestone!r}; or --check FILE.zip")
    if not team or not members:
        fail("--team and --members are missing: they are on the slides and in the file's name")
    if milestone == "m3" and not road:
        fail("--road is missing: m3 enters one of latency, energy, fom")
    if milestone != "m3" and road:
        fail(f"--road {road} is for m3 alone; leave it out")
