"""Options that several commands have."""

import logging
from pathlib import Path
from typing import Annotated

import typer

STUDIES = Path("studies")


RENAMED_STUDIES = {"rehearsal": "dry_run"}
"""Old name of a study file that ships -> new name."""


def by_name(study: Path) -> Path:
    """Return the study file that is meant: `latency` is studies/latency.toml, unless a file or folder has that name."""
    if study.exists():
        return study
    new_name = RENAMED_STUDIES.get(study.stem)
    if new_name is not None and study.parent in (Path(), STUDIES):
        renamed = STUDIES / f"{new_name}.toml"
        if renamed.exists():
            logging.getLogger(__name__).warning("%s is now %s", study, renamed)
            return renamed
    named = STUDIES / f"{study}.toml"
    if study.parent == Path() and not study.suffix and named.exists():
        return named
    return study


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
    typer.Option("--device", help="The device that measures: local:, ssh://pi@raspberrypi.local, rpyc://host:port."),
]
Devices = Annotated[
    list[str] | None,
    typer.Option("--device", help="As --device of `measure`. For several devices of one kind, give it several times."),
]
Meter = Annotated[
    str | None,
    typer.Option("--meter", help="Power: smartpower2:///dev/ttyUSB0, smartpower2://, estimate://4.8W, device: ..."),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="THRONES_STORAGE",
        help="The study's database: postgresql://USER@HOST/DATABASE, grpc://HOST:13000, or SQLite in --runs.",
    ),
]
Artifacts = Annotated[
    str | None,
    typer.Option("--artifacts", envvar="THRONES_ARTIFACTS", help="The place of the models: a folder or s3://BUCKET."),
]
Base = Annotated[
    str | None, typer.Option("--base", help="Your own unpruned network: an .npz of `thrones import` or `pretrain`.")
]
Runs = Annotated[Path, typer.Option("--runs", help="The folder for all results.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of a table.")]
