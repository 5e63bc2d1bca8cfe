"""The one console of the command, and JSON for scripts."""

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


def make_console(to_stderr: bool = False) -> "Console":
    """Return a console that prints text as it is: rich's markup would swallow [budget]."""
    from rich.console import Console  # here, because importing it takes longer than `--help` may

    return Console(stderr=to_stderr, highlight=False, markup=False)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    typer.echo(json.dumps(value, indent=1))
