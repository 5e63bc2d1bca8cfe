"""Where a simulated supply is attached: a pseudo-terminal or a TCP server."""

import os
import socket
import termios
import tty
from pathlib import Path
from typing import Protocol

from edge.errors import UnavailableError, one_line


class Link(Protocol):
    """Where a supply is attached. `received` counts the bytes from the reader, who should send none."""

    received: int

    @property
    def url(self) -> str:
        """The part of the meter's URL after ://."""
        ...

    def sources(self) -> list[int | socket.socket]:
        """Return what to wait for."""
        ...

    def serve(self, source: int | socket.socket) -> None:
        """Read from one of the sources, which has something."""
        ...

    def send(self, data: bytes) -> None: ...

    def command(self, text: str) -> bool:
        """Obey a command, and return True, if it is one for the link."""
        ...

    def close(self) -> None: ...


class PtyLink:
    """A pseudo-terminal, `unplug` takes it away. `link`, when given, is a symbolic link to it."""

    def __init__(self, link: Path | None = None) -> None:
        self.received = 0
        self._link = link
        self._files: tuple[int, int] | None = None
        self._plug()

    @property
    def url(self) -> str:
        if self._link is not None:
            return str(self._link.absolute())
        if self._files is None:
            return ""
        return os.ttyname(self._files[1])

    def sources(self) -> list[int | socket.socket]:
        if self._files is None:
            return []
        return [self._files[0]]

    def serve(self, source: int | socket.socket) -> None:
        if self._files is not None:
            self.received += len(os.read(self._files[0], 1024))

    def send(self, data: bytes) -> None:
        if self._files is None:
            return
        try:
            os.write(self._files[0], data)
        except BlockingIOError:
            # Nobody reads, and a serial line does not wait.
            return

    def command(self, text: str) -> bool:
        if text == "unplug":
            self.close()
        elif text == "plug" and self._files is None:
            self._plug()
        return text in ("unplug", "plug")

    def close(self) -> None:
        if self._files is not None:
            if self._link is not None:
                self._link.unlink(missing_ok=True)
            for file in self._files:
                os.close(file)
            self._files = None

    def _plug(self) -> None:
        # The other end stays open here too: else the line would break whenever a reader closes it.
        master, slave = os.openpty()
        tty.setraw(slave, termios.TCSANOW)
        os.set_blocking(master, False)
        self._files = (master, slave)
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(os.ttyname(slave))


class TcpLink:
    """A TCP server for one client; a second one is accepted and closed at once."""

    def __init__(self, host: str, port: int) -> None:
        self.received = 0
        self._client: socket.socket | None = None
        try:
            self._listener = socket.create_server((host, port))
        except OSError as error:
            raise UnavailableError(
                f"cannot serve on {host}:{port} ({one_line(error)})",
                remedy="take another port",
            ) from error

    @property
    def url(self) -> str:
        host, port = self._listener.getsockname()[:2]
        return f"{host}:{port}"

    def sources(self) -> list[int | socket.socket]:
        # The client first: one that has left makes room for the next.
        if self._client is None:
            return [self._listener]
        return [self._client, self._listener]

    def serve(self, source: int | socket.socket) -> None:
        if source is self._listener:
            connection = self._listener.accept()[0]
            if self._client is None:
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._client = connection
            else:
                connection.close()
        elif self._client is not None:
            try:
                data = self._client.recv(1024)
            except OSError:
                data = b""
            self.received += len(data)
            if not data:
                self._drop()

    def send(self, data: bytes) -> None:
        if self._client is None:
            return
        try:
            self._client.sendall(data)
        except OSError:
            self._drop()

    def command(self, text: str) -> bool:
        return False

    def close(self) -> None:
        self._drop()
        self._listener.close()

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
