"""The commands about what a team hands in: `table`, `replay`, `submit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.errors import fail
from search.cli.options import Artifacts, Base, Data, Device, Meter, Runs, Storage, Study, Test, by_name
from search.report.formatting import counted

if TYPE_CHECKING:
    from search.config import StudyConfig

milestones_app = typer.Typer()
OutFolder = Annotated[Path | None, typer.Option("--out", help="The folder to write into.")]


@milestones_app.command(epilog="Example: thrones run m1, then thrones table m1 --out studies/results/m1")
def table(study: Study, runs: Runs = Path("runs"), storage: Storage = None, out: OutFolder = None) -> None:
    """Show Table 1 or 2 of a grid study, and write it as Markdown, CSV and PowerPoint.

    Works while the study runs: the rows that are there. Without --out the files go to runs/<study>/.
    """
    from rich.console import Console

    from search.config import load_config, overlaid
    from search.submission import grid_table as grids
    from search.submission.tables import render as tables

    config = overlaid(load_config(study, runs), storage=storage)
    found = grids.read_table(config, grids.first_of(config, study))
    console = Console(highlight=False, markup=False)
    console.print(tables.terminal_table(found.title, found.rows))
    for line in found.left_out:
        console.print(line, soft_wrap=True)
    if found.missing:
        missing = f"{counted(len(found.missing), 'row')} missing, the first: {found.missing[0]}"
        console.print(f"{missing}; go on with `thrones run {study}`", soft_wrap=True)
    for path in grids.write_tables(out or config.folder, found, study.name):
        console.print(f"wrote {path}", soft_wrap=True)


@milestones_app.command(epilog="Example: thrones replay latency --device ssh://pi@raspberrypi.local --meter device:")
def replay(
    study: Annotated[
        Path,
        typer.Argument(
            metavar="STUDY", help="A study, or a folder with a winner: studies/results/latency, an unpacked M3 zip.",
            callback=by_name,
        ),
    ],
    trial: Annotated[int | None, typer.Option("--trial", help="Another trial than the best.")] = None,
    runs: Runs = Path("runs"),
    plan: Annotated[str, typer.Option("--plan", help="final: five windows of 10 s and three passes a run.")] = "final",
    times: Annotated[int, typer.Option("--times", min=1, help="Runs; the rules ask for at least three.")] = 3,
    rebuild: Annotated[bool, typer.Option(help="Build the model again from its specification.")] = True,
    data: Data = None,
    test: Test = None,
    device: Device = None,
    meter: Meter = None,
    storage: Storage = None,
    artifacts: Artifacts = None,
    base: Base = None,
) -> None:
    """Build a winner again from its specification, check it image by image, measure it as the rules ask: Table 3.

    A study that was never run here is taken from studies/results. What it finds goes to runs/<study>/replay/, from
    where `thrones submit m3` takes it.
    """
    from rich.console import Console

    from search.candidate.resolve_dataset import find
    from search.submission.winner import find_source

    given = {"device": device, "meter": meter, "storage": storage, "artifacts": artifacts, "base": base}
    source = find_source(study, runs, trial, **given)
    config = source.config
    images = find(config.data, data, test)
    console = Console(highlight=False, markup=False)
    console.print(f"Replay of {source.where}, road {config.road}, on {images}", soft_wrap=True)
    from search.progress import Progress
    from search.storage.study_state import Lock

    with Lock(config.folder) as lock, Progress(console, 0) as progress:
        lock.alone()
        from search.submission import reproduce as replaying
        from search.submission.tables.render import table3_terminal

        found = replaying.replay(source, images.data, progress, plan_name=plan, runs=times, rebuild=rebuild)
        folder = config.folder / replaying.FOLDER
        replaying.write_replay(folder, source, found)
    console.print(table3_terminal(f"Table 3 ({config.name})", replaying.table3(found)))
    if found.differing:
        console.print(f"{len(found.differing)} images that host and device label differently:")
        for each in found.differing:
            console.print(f"  image {each.image}: label {each.label}, host {each.host}, device {each.device}")
    for line in replaying.warnings(found):
        console.print(f"warning: {line}", soft_wrap=True)
    console.print(f"wrote {folder}; next: thrones submit m3 --road {config.name}", soft_wrap=True)


@milestones_app.command(epilog='Example: thrones submit m3 --road latency --team 7 --members "Ann, Bob"')
def submit(
    milestone: Annotated[str, typer.Argument(metavar="[m1|m2|m3]", help="What to hand in.")] = "",
    team: Annotated[str, typer.Option("--team", help="The team's number, part of the file's name.")] = "",
    members: Annotated[str, typer.Option("--members", help='Names for the slides: "Ann, Bob".')] = "",
    road: Annotated[str, typer.Option("--road", help="For m3: the study, such as latency, energy, fom.")] = "",
    video: Annotated[Path | None, typer.Option("--video", help="For m1 and m2: at most four minutes.")] = None,
    out: Annotated[Path, typer.Option("--out", help="The folder for the zip.")] = Path(),
    zip_file: Annotated[
        Path | None, typer.Option("--check", metavar="FILE.zip", help="Check this zip, whoever made it, and no more.")
    ] = None,
    runs: Runs = Path("runs"),
    data: Data = None,
    test: Test = None,
    storage: Storage = None,
    base: Base = None,
) -> None:
    """Pack M1_<team>.zip, M2_<team>.zip or M3_<team>.zip: model, slides, code, figures; checked before it is written.

    m1 and m2 need their whole grid (`thrones run m1`), m3 a replay (`thrones replay latency`).
    """
    if zip_file is None:
        _check_submission(milestone, team, members, road)  # before the imports below, which take seconds
    from edge.diagnostics import WRONG, line
    from search.candidate.resolve_dataset import find
    from search.submission import submit as submitting

    def images(config: "StudyConfig | None"):  # type: ignore[no-untyped-def]  # Dataset would cost its import here
        return find(config.data if config else "cifar10", data, test).data

    if zip_file is not None:
        verdicts = set()
        for finding in submitting.check_zip(zip_file, runs, images):
            typer.echo(line(finding))
            verdicts.add(finding.verdict)
        raise typer.Exit(WRONG in verdicts)
    from search.config import load_config, overlaid

    study = by_name(Path(road if milestone == "m3" else milestone))
    config = overlaid(load_config(study, runs), storage=storage, base=base)

    def own_images(packed: "StudyConfig | None"):  # type: ignore[no-untyped-def]  # as `images`
        return images(config)  # whose file names them: the packed one lies elsewhere

    path, findings = submitting.submit(
        milestone, study, config, own_images, out, team=team, members=members, video=video
    )
    for finding in findings:
        typer.echo(line(finding))
    typer.echo(f"wrote {path}")


def _check_submission(milestone: str, team: str, members: str, road: str) -> None:
    if milestone not in ("m1", "m2", "m3"):
        fail(f"submit takes m1, m2 or m3, got {milestone!r}; or --check FILE.zip")
    if not team or not members:
        fail("--team and --members are missing: they stand on the slides and in the file's name")
    if milestone == "m3" and not road:
        fail("--road is missing: m3 enters one of latency, energy, fom")
    if milestone != "m3" and road:
        fail(f"--road {road} is for m3 alone; leave it out")
