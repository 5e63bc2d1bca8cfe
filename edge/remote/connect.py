"""Reach an agent: `rpyc://` on loopback or over TLS, `ssh://` through a tunnel of OpenSSH."""

import logging
import ssl
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edge.errors import UsageError, one_line

PORT = 18861
MAX_PORT = 65535
CONNECT_S = 10.0
_SSH_OPTIONS = (
    "BatchMode=yes",  # a question would wait for ever
    f"ConnectTimeout={CONNECT_S:.0f}",
    "ExitOnForwardFailure=yes",
    "ServerAliveInterval=5",  # a dead line is noticed after 20 s
    "ServerAliveCountMax=4",
)

_OPTIONS = {"rpyc": ("cert", "key", "ca"), "ssh": ("agent", "config")}

# A peer may call the methods that are exposed on purpose, and reach no other attribute.
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


@dataclass(frozen=True)
class Address:
    """A device's URL, taken apart and checked: `port` is None for the scheme's own, `options` are checked by name."""

    scheme: str
    user: str | None
    host: str
    port: int | None
    options: Mapping[str, str]

    @property
    def agent_port(self) -> int:
        """The agent's port on the device itself."""
        if self.scheme == "ssh":
            return int(self.options.get("agent", PORT))
        return self.port or PORT


def parse_url(url: str) -> Address:
    """Return the parts of a URL. Raises UsageError for one that names no agent.

    Accepted are rpyc://127.0.0.1[:port], rpyc://host[:port]?cert=FILE&key=FILE&ca=FILE, and
    ssh://[user@]host[:port][?agent=PORT][&config=FILE].
    """
    address = _split(url)
    _check_host(url, address)
    for option, value in address.options.items():
        _check_option(url, address.scheme, option, value)
    if address.scheme == "rpyc":
        _check_tls(url, address)
    return address


def _split(url: str) -> Address:
    try:
        parts = urlsplit(url)
        options = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        address = Address(parts.scheme, parts.username, parts.hostname or "", parts.port, options)
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL of a device ({one_line(error)})") from error
    if parts.path not in ("", "/") or parts.fragment:
        raise _no_host(url)
    return address


def _check_host(url: str, address: Address) -> None:
    if address.scheme not in _OPTIONS or not address.host:
        raise _no_host(url)
    for name in (address.host, address.user or ""):
        if name.startswith("-"):  # ssh would take it for an option
            raise UsageError(f"{url!r}: a host or user does not begin with -")


def _no_host(url: str) -> UsageError:
    remedy = f"for example ssh://pi@raspberrypi.local or rpyc://127.0.0.1:{PORT}"
    return UsageError(f"{url!r} names no host", remedy=remedy)


def _check_option(url: str, scheme: str, option: str, value: str) -> None:
    if option not in _OPTIONS[scheme]:
        known = ", ".join(_OPTIONS[scheme])
        raise UsageError(f"{url!r}: unknown option {option!r}", remedy=f"known: {known}")
    if option == "agent":
        if not (value.isascii() and value.isdigit() and 0 < int(value) <= MAX_PORT):
            raise UsageError(f"{url!r}: agent must be a port, 1..{MAX_PORT}, got {value!r}")
    elif not Path(value).is_file():
        raise UsageError(f"{url!r}: {option} {value!r} is no file")


def _check_tls(url: str, address: Address) -> None:
    """Raise UsageError unless the connection is encrypted on both sides, or stays on this machine."""
    if address.options and len(address.options) < len(_OPTIONS["rpyc"]):
        remedy = "rpyc://pi?cert=me.pem&key=me.key&ca=ca.pem"
        raise UsageError(f"{url!r}: TLS needs cert, key and ca", remedy=remedy)
    if not address.options and not is_loopback(address.host):
        remedy = "use ssh://, or TLS with ?cert=FILE&key=FILE&ca=FILE"
        raise UsageError(f"{url!r} is not this machine", remedy=remedy)


def connector(url: str) -> Callable[[], Any]:
    """Return what opens a connection to the agent behind `url`; it raises OSError or EOFError when it cannot.

    Raises UsageError as `parse_url` does.
    """
    address = parse_url(url)
    if address.scheme == "ssh":
        return lambda: _through_ssh(address)
    return lambda: _Link(_stream(address.host, address.agent_port, address.options))


def is_loopback(host: str) -> bool:
    """Return whether no other machine can reach this address."""
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _stream(host: str, port: int, tls: Mapping[str, str] = MappingProxyType({})) -> Any:
    from rpyc import SocketStream

    how = {"timeout": CONNECT_S, "nodelay": True, "attempts": 1}
    if not tls:
        return SocketStream.connect(host, port, **how)
    files = {"certfile": tls["cert"], "keyfile": tls["key"], "ca_certs": tls["ca"]}
    return SocketStream.ssl_connect(host, port, {**files, "cert_reqs": ssl.CERT_REQUIRED}, **how)


def open_shell(address: Address) -> Any:
    """Return a plumbum SshMachine. Raises ConnectionError with the words of ssh, UsageError where ssh is missing."""
    from plumbum import CommandNotFound, SshMachine
    from plumbum.machines.session import SSHCommsError

    logging.getLogger("plumbum.shell").setLevel(logging.CRITICAL)  # the error below says the same
    options = [word for option in _SSH_OPTIONS for word in ("-o", option)]
    if "config" in address.options:
        options += ["-F", address.options["config"]]
    try:
        return SshMachine(
            address.host,
            address.user,
            address.port,
            ssh_opts=options,
            scp_opts=options,
            connect_timeout=CONNECT_S + 5,  # ssh itself gives up before, and says why
        )
    except CommandNotFound as error:
        raise UsageError(
            "ssh is not installed on this host",
            remedy="apt install openssh-client",
        ) from error
    except SSHCommsError as error:
        said = [line.strip() for line in str(error.stderr or error).splitlines() if line.strip()]
        reason = said[-1].lstrip("| ") if said else "ssh failed"
        raise ConnectionError(reason) from error


def _through_ssh(address: Address) -> "_Link":
    with ExitStack() as undo:  # else each try of many would leave an ssh behind
        machine = open_shell(address)
        undo.callback(machine.close)
        tunnel = machine.tunnel(0, address.agent_port)
        undo.callback(tunnel.close)
        stream = _stream("127.0.0.1", int(tunnel.lport))
        undo.callback(stream.close)
        link = _Link(stream, tunnel, machine)
        undo.pop_all()
        return link


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
