"""`thrones cache`: what was trained and measured before, for all studies."""

import json
from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import Json, Runs

cache_app = typer.Typer()


@cache_app.command(epilog="Example: thrones cache --prune")
def cache(
    runs: Runs = Path("runs"),
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what this version can never use: damaged, or made by other code.")
    ] = False,
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", min=0.0, metavar="DAYS", help="With --prune: also what is older than this."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what RUNS/cache holds, and why each of it would be used or passed over.

    What is removed can be made again: it costs its training or its measurement.
    """
    from search.cache import Cache
    from search.cache_usage import MEANINGS, usage
    from search.cache_usage import prune as remove
    from search.cli.errors import fail

    if older_than is not None and not prune:
        fail(f"--older-than {older_than:g} goes with --prune; without it nothing is removed")
    folder = runs / "cache"
    found = usage(Cache(folder))
    if as_json:
        rows = [
            {"kind": row.kind, "verdict": row.verdict, "entries": len(row.paths), "bytes": row.size_bytes}
            for row in found
        ]
        typer.echo(json.dumps(rows, indent=1))
    elif not found:
        typer.echo(f"{folder} holds nothing; `thrones run` fills it")
    else:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD)
        for name in ("what", "entries", "MB", "verdict"):
            table.add_column(name, justify="right" if name in ("entries", "MB") else "left", overflow="fold")
        for row in found:
            what = MEANINGS.get(row.kind, row.kind)
            table.add_row(what, f"{len(row.paths):,}", f"{row.size_bytes / 1e6:.2f}", row.verdict)
        Console(highlight=False, markup=False).print(table)
    if prune:
        removed, size_bytes = remove(found, older_than)
        total = sum(len(row.paths) for row in found)
        typer.echo(f"removed {removed:,} of {total:,} entries, {size_bytes / 1e6:.2f} MB", err=as_json)
    elif any(row.passed_over for row in found) and not as_json:
        typer.echo("`thrones cache --prune` removes what this version can never use")
