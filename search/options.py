"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

STUDIES = Path("studies")


def by_name(study: Path) -> Path:
    """`latency` means studies/latency.toml, where no file or folder has that very name."""
    named = STUDIES / f"{study}.toml"
    return named if study.parent == Path() and not study.suffix and not study.exists() and named.exists() else study


Study = Annotated[
    Path,
    typer.Argument(metavar="STUDY", help="A study file, or the name of one in studies/.", callback=by_name),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="CIFAR-10: a cifar-10-batches-py folder or an .npz (or set THRONES_DATA)."),
]
Test = Annotated[
    Path | None, typer.Option("--test-deployment", help="The course's folder of PNGs, used as the test set.")
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Where to measure: local:, ssh://pi@raspberrypi.local, rpyc://host:port."),
]
Meter = Annotated[
    str | None,
    typer.Option("--meter", help="Power: smartpower2:///dev/ttyUSB0, smartpower2://, estimate://4.8W, device: ..."),
]
Runs = Annotated[Path, typer.Option("--runs", help="Where studies keep what they find.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of a table.")]
