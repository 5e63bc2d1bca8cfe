"""The `thrones` command, assembled. Heavy imports are inside the commands, so that `--help` is quick."""

from typing import Any

import typer
from typer.core import TyperGroup

from search.cli.dashboard_commands import dashboard_commands
from search.cli.data_commands import data_commands
from search.cli.device_commands import device_commands
from search.cli.exit_handling import errors_as_one_line
from search.cli.storage_commands import storage_commands
from search.cli.study_commands import study_commands
from search.cli.submission_commands import submission_commands
from search.cli.worker_commands import worker_commands


class _Commands(TyperGroup):
    """All commands. A stray EOFError keeps its traceback; Typer alone would print "Aborted." and nothing else."""

    def invoke(self, ctx: Any) -> Any:  # Typer's own copy of click's Context, or click's, by its version
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise RuntimeError(f"something ended too early: {error or 'EOFError'}") from error


app = typer.Typer(
    name="thrones",
    cls=_Commands,
    help="Search for the compressed MobileNet-v1 that wins a road: lowest latency, lowest energy or highest FoM, "
    "with the required accuracy.",
    epilog="Example: thrones run studies/latency.toml, then thrones best studies/latency.toml",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for commands in (
    study_commands,
    submission_commands,
    data_commands,
    device_commands,
    dashboard_commands,
    worker_commands,
    storage_commands,
):
    app.add_typer(commands)


def main() -> None:
    """Run the command. Expected errors end it with one line and an exit code of `edge.errors`."""
    with errors_as_one_line():
        app()
