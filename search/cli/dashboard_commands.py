"""The command `dashboard`: a study in the browser."""

import platform
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import STUDIES, Artifacts, Runs, Storage, by_name

dashboard_commands = typer.Typer()


@dashboard_commands.command(epilog="Example: thrones dashboard studies/latency.toml --port 8081")
def dashboard(
    study: Annotated[
        Path | None,
        typer.Argument(help="A study file, or the name of one in studies/. Not needed where --runs holds one study."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port of the pages; 0: any free one.")
    ] = 8080,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    artifacts: Artifacts = None,
) -> None:
    """Show a study in the browser with optuna-dashboard; this works while it runs. Ctrl-C ends it.

    Each trial has a note about what it is and why it ended. Its model and raw measuring windows can be downloaded.
    Candidates that miss the accuracy constraint are marked infeasible. Only this computer can open the pages.
    """
    from search.config import load_config, overlaid

    config = load_config(only_study(runs) if study is None else by_name(study), runs)
    config = overlaid(config, storage=storage, artifacts=artifacts)
    import optuna

    from search.dashboard.dashboard_server import serve

    def show_address(address: str) -> None:
        host_and_port = address.split("/")[2]
        local_port = host_and_port.split(":")[1]
        typer.echo(f"{config.name}: {address}  (Ctrl-C ends it)")
        typer.echo(
            f"from another computer: ssh -L {local_port}:{host_and_port} {platform.node()}, then the same address"
        )

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with suppress(KeyboardInterrupt):  # the intended end
        serve(config, port, show_address, typer.echo)


def only_study(runs: Path) -> Path:
    """Return the file of the one study that `runs` holds. Raises UsageError where it holds none or several."""
    from edge.errors import UsageError

    names = sorted(path.parent.name for path in runs.glob("*/study.db"))
    if len(names) != 1:
        held = f"holds {', '.join(names)}" if names else "holds no study"
        raise UsageError(f"which study? {runs} {held}; name its file: thrones dashboard STUDY")
    files = (STUDIES / f"{names[0]}.toml", Path(f"{names[0]}.toml"))
    return next((file for file in files if file.exists()), files[0])
