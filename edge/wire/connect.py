"""How an agent is reached: `rpyc://` on loopback or over TLS, `ssh://` through a tunnel of OpenSSH's."""

import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from edge.errors import UsageError, one_line

PORT = 18861
CONNECT_S = 10.0
_SSH_OPTIONS = (
    "BatchMode=yes",  # a question would wait for ever
    f"ConnectTimeout={CONNECT_S:.0f}",
    "ExitOnForwardFailure=yes",
    "ServerAliveInterval=5",  # a dead line is noticed after 20 s
    "ServerAliveCountMax=4",
)

_OPTIONS = {"rpyc": ("cert", "key", "ca"), "ssh": ("agent", "config")}

# What a peer may reach: the methods that are exposed on purpose, by call; no attribute of anything else.
WIRE = {
    "allow_safe_attrs": False,
    "allow_exposed_attrs": True,
    "allow_public_attrs": False,
    "allow_all_attrs": False,
    "allow_getattr": True,
    "allow_setattr": False,
    "allow_delattr": False,
    "allow_pickle": False,
    "include_local_traceback": False,
    "include_local_version": False,
    "import_custom_exceptions": False,
    "instantiate_custom_exceptions": False,
    "sync_request_timeout": 30,
}


def connector(url: str) -> Callable[[], Any]:
    """What opens a connection to the agent behind `url`; that raises OSError or EOFError when it cannot.

    Raises UsageError for a URL that names no agent. Accepted are rpyc://127.0.0.1[:port],
    rpyc://host[:port]?cert=FILE&key=FILE&ca=FILE, and ssh://[user@]host[:port][?agent=PORT][&config=FILE].
    """
    try:
        parts = urlsplit(url)
        port, options = parts.port, {key: values[-1] for key, values in parse_qs(parts.query).items()}
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL of a device ({one_line(error)})") from error
    if parts.scheme not in _OPTIONS or not parts.hostname or parts.path not in ("", "/") or parts.fragment:
        raise UsageError(f"{url!r} names no host: for example ssh://pi@raspberrypi.local or rpyc://127.0.0.1:{PORT}")
    known = _OPTIONS[parts.scheme]
    for option in options:
        if option not in known:
            raise UsageError(f"{url!r}: unknown option {option!r}; known: {', '.join(known)}")
    if parts.scheme == "ssh":
        return lambda: _through_ssh(parts, port, options)
    if options and len(options) < len(known):
        raise UsageError(f"{url!r}: TLS needs cert, key and ca, as in rpyc://pi:{PORT}?cert=me.pem&key=me.key&ca=ca.pem")
    if not options and not is_loopback(parts.hostname):
        raise UsageError(f"{url!r} is not this machine: use ssh://, or TLS with ?cert=FILE&key=FILE&ca=FILE")
    return lambda: _direct(parts.hostname or "", port or PORT, options)


def is_loopback(host: str) -> bool:
    """Whether this is an address that no other machine can reach."""
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _direct(host: str, port: int, tls: dict[str, str]) -> "_Link":
    return _Link(_stream(host, port, tls))


def _stream(host: str, port: int, tls: Mapping[str, str] = MappingProxyType({})) -> Any:
    from rpyc import SocketStream

    how = {"timeout": CONNECT_S, "nodelay": True, "attempts": 1}
    if not tls:
        return SocketStream.connect(host, port, **how)
    files = {"certfile": tls["cert"], "keyfile": tls["key"], "ca_certs": tls["ca"]}
    return SocketStream.ssl_connect(host, port, {**files, "cert_reqs": ssl.CERT_REQUIRED}, **how)


def open_shell(parts: SplitResult, port: int | None, config: str | None) -> Any:
    """A plumbum SshMachine. Raises ConnectionError with what ssh said."""
    from plumbum import SshMachine
    from plumbum.machines.session import SSHCommsError

    options = [word for option in _SSH_OPTIONS for word in ("-o", option)]
    if config is not None:
        options += ["-F", config]
    try:
        return SshMachine(
            parts.hostname or "", parts.username, port, ssh_opts=options, scp_opts=options, connect_timeout=CONNECT_S
        )
    except SSHCommsError as error:
        said = [line.strip() for line in str(error.stderr or error).splitlines() if line.strip()]
        raise ConnectionError(said[-1].lstrip("| ") if said else "ssh failed") from error


def _through_ssh(parts: SplitResult, port: int | None, options: dict[str, str]) -> "_Link":
    machine = open_shell(parts, port, options.get("config"))
    try:
        tunnel = machine.tunnel(0, int(options.get("agent", PORT)))
        return _Link(_stream("127.0.0.1", int(tunnel.lport)), tunnel, machine)
    except BaseException:
        machine.close()
        raise


class _Link:
    """A connection to an agent and what carries it."""

    def __init__(self, stream: Any, *carriers: Any) -> None:
        import rpyc

        self._closing = (stream, *carriers)
        self._connection = rpyc.connect_stream(stream, config=WIRE)
        self.root = self._connection.root

    def close(self) -> None:
        """Hang up. First the stream: on a dead line rpyc would wait for half a minute to say goodbye."""
        for thing in (*self._closing, self._connection):
            with suppress(EOFError, OSError):
                thing.close()
