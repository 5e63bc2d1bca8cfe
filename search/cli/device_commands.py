"""The commands about what measures: `measure`, `doctor`, `device setup`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.options import Data, Device, Json, Meter, Test

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.diagnostics import Finding

rig_app = typer.Typer()
device_app = typer.Typer(no_args_is_help=True, help="The Raspberry Pi that measures.")
rig_app.add_typer(device_app, name="device")


@rig_app.command(epilog="Example: thrones measure mine.tflite theirs.onnx --images cifar10 --rounds 3")
def measure(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL", help=r".tflite, or .onnx with thrones\[onnx].")],
    plan: Annotated[str, typer.Option("--plan", help="search (a second) or final (a minute and more).")] = "auto",
    threads: Annotated[int, typer.Option("--threads")] = 1,
    device: Device = None,
    meter: Meter = None,
    name: Annotated[str, typer.Option("--images", help="cifar10, digits, an .npz, or none.")] = "none",
    pixels: Annotated[
        str, typer.Option("--pixels", help="raw, unit, half, cifar10, or auto: the best on training images.")
    ] = "auto",
    rounds: Annotated[int, typer.Option("--rounds", help="Measure all models so often, in turns.")] = 1,
    data: Data = None,
    test: Test = None,
    as_json: Json = False,
) -> None:
    """Measure models: latency, energy, memory, and with --images their accuracy on the test set.

    Several are measured in turns and laid beside each other, with ratios to the first.
    """
    from edge.commands.measure import Request, random_images
    from edge.commands.measure import measure as measure_models
    from edge.comparison import Images
    from search.candidate.resolve_dataset import find

    rig = device or "local:", meter or "estimate://4.8W"
    request = Request(tuple(models), plan, threads, *rig, rounds, pixels, as_json)
    images = random_images()
    if name != "none":
        found = find(name, data, test).data
        images = Images(*found.test, found.train)
    typer.echo(measure_models(request, images))


@rig_app.command(epilog="Example: thrones doctor --device ssh://pi@raspberrypi.local --meter smartpower2:///dev/ttyUSB0")
def doctor(device: Device = None, meter: Meter = None, as_json: Json = False) -> None:
    """Look at everything that can be wrong with device and meter; say what was found, and the remedy.

    Let the device rest meanwhile: its idle power is measured. Exit code 1 when something is wrong.
    """
    from search.device_setup import doctor as examine

    _findings(examine(device or "local:", meter or "estimate://4.8W"), as_json)


@device_app.command(epilog="Example: thrones device setup pi@raspberrypi.local --meter smartpower2:///dev/ttyUSB0")
def setup(
    address: Annotated[str, typer.Argument(metavar="[USER@]HOST[:PORT]", help="Where SSH lets you in by key.")],
    meter: Annotated[str | None, typer.Option("--meter", help="A meter that hangs on the device itself.")] = None,
    as_json: Json = False,
) -> None:
    """Install the agent on a Raspberry Pi over SSH, start it, and check it. Again: upgrade it."""
    from search.device_setup import set_up

    url = address if "://" in address else f"ssh://{address}"
    _findings(set_up(url, meter, lambda step: typer.echo(step, err=True)), as_json)
    typer.echo(f"measure there with --device {url}", err=True)


def _findings(findings: "Iterable[Finding]", as_json: bool) -> None:
    from dataclasses import asdict

    from edge.diagnostics import WRONG, line

    kept = []
    for finding in findings:  # each when it is there: a meter is listened to for seconds
        kept.append(finding)
        if not as_json:
            typer.echo(line(finding))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in kept], indent=1))
    if any(finding.verdict == WRONG for finding in kept):
        raise typer.Exit(1)
