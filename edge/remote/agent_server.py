"""The agent behind a port: on loopback, or elsewhere with certificates on both sides."""

import logging
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rpyc.utils.authenticators import SSLAuthenticator
from rpyc.utils.helpers import classpartial
from rpyc.utils.server import ThreadedServer

from edge.errors import UnavailableError, UsageError, one_line
from edge.meters.meter import open_meter
from edge.remote.agent import Agent
from edge.remote.connect import WIRE, is_loopback
from edge.remote.service import AgentService, installed_version
from edge.remote.uploads import Store

ABANDONED_EVERY_S = 5.0

Admit = Callable[[socket.socket], Any]


@dataclass(frozen=True)
class ServerOptions:
    """Where to listen, what to use, and for TLS the three PEM files, all or none. `meter` is a URL."""

    host: str
    port: int
    store: Path
    meter: str | None = None
    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None


def serve(options: ServerOptions) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises UsageError for options that do not go together, UnavailableError when port or meter fail.
    """
    tls = _tls(options)

    def admit(sock: socket.socket) -> Any:
        # Else each small answer waits 40 ms for the other side's word, and the clocks are compared to 20 ms only.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls(sock) if tls else (sock, None)

    with ExitStack() as stack:
        meter = stack.enter_context(open_meter(options.meter) if options.meter else nullcontext())
        agent = stack.enter_context(Agent(Store(options.store), meter))
        server = _listen(options, agent, admit)
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        threading.Thread(target=server.start, name="agent server", daemon=True).start()
        print(f"thrones agent {installed_version()} listens on {options.host} port {server.port}", flush=True)
        while not stopping.wait(ABANDONED_EVERY_S):
            agent.give_up_abandoned()
        server.close()


def _listen(options: ServerOptions, agent: Agent, admit: Admit) -> Any:
    logger = logging.getLogger("thrones agent")
    logger.setLevel(logging.CRITICAL)  # a peer that breaks off is no news
    try:
        return ThreadedServer(
            classpartial(AgentService, agent),
            hostname=options.host,
            port=options.port,
            authenticator=admit,
            protocol_config=WIRE,
            logger=logger,
        )
    except OSError as error:
        raise UnavailableError(
            f"cannot listen on {options.host} port {options.port} ({one_line(error)})",
            remedy="is another agent running? choose another --port",
        ) from error


def _tls(options: ServerOptions) -> Admit | None:
    files = {"--cert": options.cert, "--key": options.key, "--ca": options.ca}
    missing = [option for option, path in files.items() if path is None]
    if len(missing) == len(files):
        if is_loopback(options.host):
            return None
        raise UsageError(
            f"--host {options.host} can be reached by others",
            remedy="give --cert, --key and --ca, or listen on 127.0.0.1 and come through SSH",
        )
    if missing:
        raise UsageError(f"TLS needs --cert, --key and --ca; {' and '.join(missing)} missing")
    try:
        ssl.create_default_context(cafile=options.ca).load_cert_chain(str(options.cert), str(options.key))
    except (OSError, ssl.SSLError) as error:
        message = f"TLS files cannot be used ({one_line(error)})"
        raise UsageError(message, remedy="PEM files are needed") from error
    authenticator: Admit = SSLAuthenticator(options.key, options.cert, options.ca, cert_reqs=ssl.CERT_REQUIRED)
    return authenticator
