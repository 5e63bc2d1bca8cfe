"""The command `dashboard`: a study in the browser."""

import platform
from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import STUDIES, Artifacts, Runs, Storage, by_name

dashboard_app = typer.Typer()


@dashboard_app.command(epilog="Example: thrones dashboard studies/latency.toml --port 8081")
def dashboard(
    study: Annotated[
        Path | None,
        typer.Argument(help="A study file, or the name of one in studies/. Not needed where --runs holds one study."),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where the pages are; 0: any free one.")] = 8080,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    artifacts: Artifacts = None,
) -> None:
    """Show a study in the browser with optuna-dashboard, also while it runs. Ctrl-C ends it.

    Every trial has a note that says what it is and why it ended so, its model and raw measuring windows to download;
    what misses the rule is marked infeasible. The pages are served to this computer alone.
    """
    from search.config import load_config, overlaid

    config = load_config(the_only(runs) if study is None else by_name(study), runs)
    config = overlaid(config, storage=storage, artifacts=artifacts)
    import optuna

    from search.dashboard.server import serve

    def tell(address: str) -> None:
        at = address.split("/")[2]
        typer.echo(f"{config.name}: {address}  (Ctrl-C ends it)")
        typer.echo(f"from another computer: ssh -L {at.split(':')[1]}:{at} {platform.node()}, then the same address")

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        serve(config, port, tell, typer.echo)
    except KeyboardInterrupt:  # how it is meant to end
        pass


def the_only(runs: Path) -> Path:
    """The file of the one study that `runs` holds. Raises UsageError where it holds none or several."""
    from compress.errors import UsageError

    names = sorted(path.parent.name for path in runs.glob("*/study.db"))
    if len(names) != 1:
        held = f"holds {', '.join(names)}" if names else "holds no study"
        raise UsageError(f"which study? {runs} {held}; name its file: thrones dashboard STUDY")
    files = (STUDIES / f"{names[0]}.toml", Path(f"{names[0]}.toml"))
    return next((file for file in files if file.exists()), files[0])
