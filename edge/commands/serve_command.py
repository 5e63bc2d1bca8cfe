"""`python -m edge serve`: the agent, which runs and measures models for a host."""

import os
from collections.abc import Sequence
from pathlib import Path

from edge.arguments import Parser
from edge.remote.agent_server import ServerOptions, serve
from edge.remote.connect import PORT


def main(argv: Sequence[str]) -> int:
    """Serve until stopped. Raise UsageError for bad options, UnavailableError when port or meter fail."""
    arguments = vars(_build_parser().parse_args(argv))
    serve(ServerOptions(**arguments))
    return 0


def _build_parser() -> Parser:
    parser = Parser(
        prog="python -m edge serve",
        description="Run and measure models for a host, one at a time. The host comes through an SSH tunnel, or "
        "over TLS where --host is not loopback.",
        epilog="example: python -m edge serve --meter smartpower2:///dev/ttyUSB0",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=PORT, help=f"0: any free one (default: {PORT})")
    parser.add_argument("--meter", metavar="URL", help="a power meter connected to this device (default: none)")
    parser.add_argument(
        "--store",
        type=Path,
        default=Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "thrones",
        help="folder for models and images that hosts send (default: ~/.cache/thrones)",
    )
    parser.add_argument("--cert", type=Path, metavar="FILE", help="TLS, PEM: this device's certificate")
    parser.add_argument("--key", type=Path, metavar="FILE", help="TLS, PEM: its key")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="TLS, PEM: who signs hosts")
    return parser
