"""Where a Smart Power is attached: a serial port or a TCP address. Opened to be read, never to be written to."""

import errno
import os
import re
import socket
import termios
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from edge.errors import UnavailableError, UsageError, one_line

BAUD = 115200
# Of the CP2104 in the Smart Power 2 and, after github.com/energymon/osp3, of the bridge in the Smart Power 3.
USB_ID = (0x10C4, 0xEA60)
CONNECT_S = 5.0
# How long `read` waits, and so how long closing takes.
_WAIT_S = 0.1
_AT_ONCE_S = 2.0
_REMEDIES = {
    errno.ENOENT: "plug the supply's USB cable in or name another port",
    errno.EACCES: "let your user read it with `sudo usermod -aG dialout $USER` and log in again",
    errno.EAGAIN: "another program reads it, close that one",
    errno.EBUSY: "another program reads it, close that one",
}


class Port(Protocol):
    """An open connection. With `always_sends` silence is a fault, because lines come with the output off too."""

    always_sends: bool

    def read(self) -> bytes:
        """Return what has arrived; b"" when nothing did for 0.1 s. Raises UnavailableError when the port is gone."""
        ...

    def close(self) -> None: ...


class SerialPort:
    """A serial port, locked for others."""

    always_sends = False

    def __init__(self, serial: Any, path: str) -> None:
        self._serial = serial
        self._path = path

    def read(self) -> bytes:
        try:
            data: bytes = self._serial.read(1)
            return data + self._serial.read(self._serial.in_waiting) if data else data
        except (OSError, termios.error) as error:
            raise UnavailableError(
                f"{self._path} is gone ({one_line(error)})",
                remedy="plug the supply's USB cable in",
            ) from error

    def close(self) -> None:
        self._serial.close()


def open_serial(path: str, baud: int = BAUD) -> SerialPort:
    """Opens a serial port so that what the supply feeds stays on. Raises UnavailableError with the remedy.

    DTR and RTS drive the supply's reset: RTS asserted while DTR is not resets it, and afterwards its output stays
    off unless autorun is on. Linux asserts both on opening and drops both on closing; so both are asked for
    before the port is opened, and neither is ever moved alone.
    """
    import serial  # here and not above: it would take a good part of the time that `import edge` may take

    port = serial.Serial(baudrate=baud, timeout=_WAIT_S, exclusive=True)
    port.dtr = True
    port.rts = True
    port.port = path
    try:
        port.open()
    except (OSError, ValueError, termios.error) as error:
        number = getattr(error, "errno", None)
        reason = one_line(error) if number is None else os.strerror(number)
        remedy = _REMEDIES.get(number or 0, "is it the supply's serial port?")
        raise UnavailableError(f"cannot open {path} ({reason})", remedy=f"{remedy}") from error
    return SerialPort(port, path)


def find_serial(scheme: str, list_ports: Callable[[], Iterable[Any]] | None = None) -> str:
    """Return the path of the one serial port with a Smart Power's USB id.

    Raises UnavailableError when there is none, UsageError when there are several.
    """
    from serial.tools.list_ports import comports

    ports = (list_ports or comports)()
    found = sorted(str(port.device) for port in ports if (port.vid, port.pid) == USB_ID)
    usb_id = "{:04x}:{:04x}".format(*USB_ID)
    if not found:
        raise UnavailableError(
            f"no serial port has the USB id {usb_id} of a Smart Power",
            remedy=f"plug its USB cable in or name the port, for example {scheme}:///dev/ttyUSB0",
        )
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} serial ports have the USB id {usb_id} of a Smart Power "
            f"({', '.join(found)})",
            remedy=f"name one, for example {scheme}://{found[0]}",
        )
    return found[0]


class TcpPort:
    """A TCP connection; the supply serves one at a time."""

    always_sends = True

    def __init__(self, connection: socket.socket, address: str, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._address = address
        self._clock = clock
        self._opened_s = clock()

    def read(self) -> bytes:
        try:
            data = self._connection.recv(4096)
        except TimeoutError:
            return b""
        except OSError as error:
            raise UnavailableError(
                f"the connection to {self._address} broke ({one_line(error)})",
                remedy="is the supply on and in reach?",
            ) from error
        if data:
            return data
        if self._clock() - self._opened_s < _AT_ONCE_S:
            raise UnavailableError(
                f"{self._address} accepted the connection and closed it at once",
                remedy="it serves 1 client and has one, close the other",
            )
        raise UnavailableError(
            f"{self._address} closed the connection",
            remedy="is the supply on and in reach?",
        )

    def close(self) -> None:
        self._connection.close()


def open_tcp(host: str, port: int, clock: Callable[[], float] = time.monotonic) -> TcpPort:
    """Connects within 5 s. Raises UnavailableError with the remedy."""
    address = f"{host}:{port}"
    try:
        connection = socket.create_connection((host, port), timeout=CONNECT_S)
    except OSError as error:
        raise UnavailableError(
            f"cannot connect to {address} ({one_line(error)})",
            remedy="is the supply on and this machine in its Wi-Fi?",
        ) from error
    connection.settimeout(_WAIT_S)
    return TcpPort(connection, address, clock)


def port_opener(url: str, place: str, baud: int = BAUD) -> tuple[str, Callable[[], Port]]:
    """Return a port's name for messages and what opens it. `place`: a path, HOST:PORT, or empty for find_serial.

    Raises UsageError for a place that is none of these; `url` is the meter's, for the message.
    """
    scheme = url.partition("://")[0]
    if not place:
        # Looked for anew each time: after a replug it may have another number.
        return f"{scheme}://", lambda: open_serial(find_serial(scheme), baud)
    if place.startswith("/"):
        return place, lambda: open_serial(place, baud)
    found = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", place, flags=re.ASCII)
    if not found or not 0 < int(found[2]) < 65536:
        raise UsageError(
            f"{url!r} must name a serial port or an address",
            remedy=f"for example {scheme}:///dev/ttyUSB0 or {scheme}://192.168.4.1:23",
        )
    host, port = found[1].strip("[]"), int(found[2])
    return place, lambda: open_tcp(host, port)
