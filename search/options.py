"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Study = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="A study file; see studies/.")]
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
