"""`python -m edge serve`: the agent behind a port, on loopback, or elsewhere with certificates on both sides."""

import argparse
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from rpyc.utils.authenticators import SSLAuthenticator
from rpyc.utils.helpers import classpartial
from rpyc.utils.server import ThreadedServer

from edge.arguments import Parser
from edge.errors import UnavailableError, UsageError, one_line
from edge.meters.meter import open_meter
from edge.remote.agent import Agent, AgentService, installed_version
from edge.remote.connect import PORT, WIRE, is_loopback
from edge.remote.uploads import Store

ABANDONED_EVERY_S = 5.0


def main(argv: Sequence[str]) -> int:
    """Serves until it is stopped. Raises UsageError for bad options, UnavailableError when port or meter fail."""
    serve(_build_parser().parse_args(argv))
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m edge serve",
        description="Runs and measures models for a host, one at a time. The host comes through an SSH tunnel, or "
        "over TLS where --host is not loopback.",
        epilog="example: python -m edge serve --meter smartpower2:///dev/ttyUSB0",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=PORT, help=f"0: any free one (default: {PORT})")
    parser.add_argument("--meter", metavar="URL", help="a power meter that hangs on this device (default: none)")
    parser.add_argument(
        "--store",
        type=Path,
        default=Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "thrones",
        help="folder for models and images that hosts send (default: ~/.cache/thrones)",
    )
    for option, what in (("--cert", "this device's certificate"), ("--key", "its key"), ("--ca", "who signs hosts")):
        parser.add_argument(option, type=Path, metavar="FILE", help=f"TLS, PEM: {what}")
    return parser


def serve(arguments: argparse.Namespace) -> None:
    """Raises UsageError for options that do not go together, UnavailableError when port or meter fail."""
    tls = _tls(arguments)

    def admit(sock: socket.socket) -> Any:
        # Else each small answer waits 40 ms for the other side's word, and the clocks are compared to 20 ms only.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls(sock) if tls else (sock, None)

    logger = logging.getLogger("thrones agent")
    logger.setLevel(logging.CRITICAL)  # a peer that breaks off is no news
    with ExitStack() as stack:
        meter = stack.enter_context(open_meter(arguments.meter) if arguments.meter else nullcontext())
        agent = stack.enter_context(Agent(Store(arguments.store), meter))
        try:
            server: Any = ThreadedServer(
                classpartial(AgentService, agent),
                hostname=arguments.host,
                port=arguments.port,
                authenticator=admit,
                protocol_config=WIRE,
                logger=logger,
            )
        except OSError as error:
            raise UnavailableError(
                f"cannot listen on {arguments.host} port {arguments.port} ({one_line(error)})",
                remedy="is another agent running? choose another --port",
            ) from error
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        threading.Thread(target=server.start, name="agent server", daemon=True).start()
        print(f"thrones agent {installed_version()} listens on {arguments.host} port {server.port}", flush=True)
        while not stopping.wait(ABANDONED_EVERY_S):
            agent.give_up_abandoned()
        server.close()


def _tls(arguments: argparse.Namespace) -> Any:
    files = {"--cert": arguments.cert, "--key": arguments.key, "--ca": arguments.ca}
    missing = [option for option, path in files.items() if path is None]
    if missing:
        if len(missing) < 3:
            raise UsageError(f"TLS needs --cert, --key and --ca; {' and '.join(missing)} missing")
        if not is_loopback(arguments.host):
            raise UsageError(
                f"--host {arguments.host} can be reached by others",
                remedy="give --cert, --key and --ca, or listen on 127.0.0.1 and come through SSH",
            )
        return None
    try:
        ssl.create_default_context(cafile=arguments.ca).load_cert_chain(arguments.cert, arguments.key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"TLS files cannot be used ({one_line(error)})",
            remedy="PEM files are needed",
        ) from error
    return SSLAuthenticator(arguments.key, arguments.cert, arguments.ca, cert_reqs=ssl.CERT_REQUIRED)
