"""The commands about what is stored: `storage` (the studies' databases) and `cache` (trained and measured before)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.console import make_console, print_json
from search.cli.exit_handling import fail
from search.cli.options import Json, Runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from search.storage.cache_usage import Usage

storage_commands = typer.Typer()
storage_group = typer.Typer(no_args_is_help=True, help="The databases of studies: copy, upgrade, serve.")
storage_commands.add_typer(storage_group, name="storage")


@storage_group.command(
    "copy", epilog="Example: thrones storage copy sqlite:///runs/fom/study.db postgresql://team@db/thrones"
)
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The URL of a storage.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The URL of another storage.")],
    study: Annotated[str | None, typer.Option("--study", help="Copy only the study of this name.")] = None,
    artifacts: Annotated[
        tuple[str, str] | None,
        typer.Option("--artifacts", metavar="FROM TO", help="Folders or s3://BUCKET: copy models and windows, too."),
    ] = None,
) -> None:
    """Copy studies with their trials, notes and artifacts from one storage to another. Nothing is overwritten."""
    import optuna

    from search.storage.migrate import copy_studies

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for line in copy_studies(source, target, study, artifacts):
        typer.echo(line)


@storage_group.command(epilog="Example: thrones storage upgrade sqlite:///runs/fom/study.db")
def upgrade(url: Annotated[str, typer.Argument(metavar="STORAGE", help="The URL of the database.")]) -> None:
    """Upgrade the tables of a database that an older Optuna created."""
    from search.storage.open_storage import upgrade_storage
    from search.storage.urls import redact_url

    typer.echo(f"{redact_url(url)}: upgraded from {upgrade_storage(url)}")


@storage_group.command(epilog="Example: thrones storage serve postgresql://team@db/thrones --host 0.0.0.0")
def serve(
    url: Annotated[str, typer.Argument(metavar="STORAGE", help="The URL of the database.")],
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; 0.0.0.0: reachable from other hosts.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 13000,
) -> None:
    """Run a gRPC proxy in front of a database. Many workers then use grpc://HOST:PORT. There is no password."""
    from search.storage.open_storage import serve_storage
    from search.storage.urls import redact_url

    serve_storage(url, host, port, lambda: typer.echo(f"grpc://{host}:{port} serves {redact_url(url)}"))


@storage_commands.command(epilog="Example: thrones cache --prune")
def cache(
    runs: Runs = Path("runs"),
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what this version cannot use: damaged, or made by other code.")
    ] = False,
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", min=0.0, metavar="DAYS", help="With --prune: also remove what is older."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the content of RUNS/cache, and why each entry would be used or passed over.

    Removing an entry costs its training or its measurement when it is needed again.
    """
    from search.storage.cache import Cache
    from search.storage.cache_usage import prune as remove
    from search.storage.cache_usage import usage

    if older_than is not None and not prune:
        fail(f"--older-than {older_than:g} needs --prune; nothing is removed without it")
    folder = runs / "cache"
    found = usage(Cache(folder))
    if as_json:
        print_json(
            [
                {"kind": row.kind, "verdict": row.verdict, "entries": len(row.paths), "bytes": row.size_bytes}
                for row in found
            ]
        )
    elif not found:
        typer.echo(f"{folder} holds nothing; `thrones run` fills it")
    else:
        make_console().print(_usage_table(found))
    if prune:
        removed, size_bytes = remove(found, older_than)
        total = sum(len(row.paths) for row in found)
        typer.echo(f"removed {removed:,} of {total:,} entries, {size_bytes / 1e6:.2f} MB", err=as_json)
    elif any(row.passed_over for row in found) and not as_json:
        typer.echo("`thrones cache --prune` removes what this version cannot use")


def _usage_table(found: "Sequence[Usage]") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from search.storage.cache_usage import MEANINGS

    table = Table(box=SIMPLE_HEAD)
    table.add_column("content", overflow="fold")
    table.add_column("entries", justify="right", overflow="fold")
    table.add_column("MB", justify="right", overflow="fold")
    table.add_column("verdict", overflow="fold")
    for row in found:
        content = MEANINGS.get(row.kind, row.kind)
        table.add_row(content, f"{len(row.paths):,}", f"{row.size_bytes / 1e6:.2f}", row.verdict)
    return table
