"""The commands about devices and meters: `measure`, `doctor`, `device setup`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import EXIT_FAULT
from search.cli.console import print_json
from search.cli.options import Data, Device, Json, Meter, Test

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.diagnostics import Finding

DEFAULT_DEVICE = "local:"
DEFAULT_METER = "estimate://4.8W"

device_commands = typer.Typer()
device_group = typer.Typer(no_args_is_help=True, help="The Raspberry Pi that measures.")
device_commands.add_typer(device_group, name="device")


@device_commands.command(epilog="Example: thrones measure mine.tflite theirs.onnx --images cifar10 --rounds 3")
def measure(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL", help=r".tflite, or .onnx with thrones\[onnx].")],
    plan: Annotated[
        str, typer.Option("--plan", help="The measurement protocol: search (1 s) or final (a minute and more).")
    ] = "auto",
    threads: Annotated[int, typer.Option("--threads", help="Threads of the interpreter.")] = 1,
    device: Device = None,
    meter: Meter = None,
    name: Annotated[str, typer.Option("--images", help="cifar10, digits, an .npz, or none.")] = "none",
    pixels: Annotated[
        str,
        typer.Option(
            "--pixels", help="The input scaling: raw, unit, half, cifar10; auto: the best on training images."
        ),
    ] = "auto",
    rounds: Annotated[int, typer.Option("--rounds", help="How often all models are measured, in turns.")] = 1,
    data: Data = None,
    test: Test = None,
    as_json: Json = False,
) -> None:
    """Measure models: latency, energy, memory, and with --images their accuracy on the test set.

    Several models are measured in turns and compared, with ratios to the first.
    """
    from edge.commands.measure_command import MeasureOptions, random_images
    from edge.commands.measure_command import measure as measure_models
    from edge.comparison import Images
    from search.candidate.inputs.resolve_dataset import resolve_dataset

    request = MeasureOptions(
        tuple(models), plan, threads, device or DEFAULT_DEVICE, meter or DEFAULT_METER, rounds, pixels, as_json
    )
    images = random_images()
    if name != "none":
        found = resolve_dataset(name, data, test).data
        images = Images(*found.test, found.train)
    typer.echo(measure_models(request, images))


@device_commands.command(
    epilog="Example: thrones doctor --device ssh://pi@raspberrypi.local --meter smartpower2:///dev/ttyUSB0"
)
def doctor(device: Device = None, meter: Meter = None, as_json: Json = False) -> None:
    """Check everything that can be wrong with device and meter; name each finding and its remedy.

    Let the device rest meanwhile: its idle power is measured. The exit code is 1 when something is wrong.
    """
    from search.device_setup import doctor as examine

    _show_findings(examine(device or DEFAULT_DEVICE, meter or DEFAULT_METER), as_json)


@device_group.command(epilog="Example: thrones device setup pi@raspberrypi.local --meter smartpower2:///dev/ttyUSB0")
def setup(
    address: Annotated[str, typer.Argument(metavar="[USER@]HOST[:PORT]", help="A host where SSH accepts your key.")],
    meter: Annotated[str | None, typer.Option("--meter", help="A meter that is connected to the device.")] = None,
    as_json: Json = False,
) -> None:
    """Install the agent on a Raspberry Pi over SSH, start it, and check it. Run it again to upgrade."""
    from search.device_setup import set_up

    url = address if "://" in address else f"ssh://{address}"
    _show_findings(set_up(url, meter, lambda step: typer.echo(step, err=True)), as_json)
    typer.echo(f"measure there with --device {url}", err=True)


def _show_findings(findings: "Iterable[Finding]", as_json: bool) -> None:
    from dataclasses import asdict

    from edge.diagnostics import WRONG, as_line

    shown = []
    for finding in findings:  # each at once: reading a meter takes seconds
        shown.append(finding)
        if not as_json:
            typer.echo(as_line(finding))
    if as_json:
        print_json([asdict(finding) for finding in shown])
    if any(finding.verdict == WRONG for finding in shown):
        raise typer.Exit(EXIT_FAULT)
