"""`python -m edge simulate-meter`: a Smart Power on a pseudo-terminal and over TCP, for rigs without one.

Its load follows what the measuring processes of this machine do: watts = busy while they burn CPU, else idle.
"""

import argparse
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

import psutil

from edge.arguments import Parser
from edge.errors import UsageError
from edge.meters.simulator.links import Link, PtyLink, TcpLink
from edge.meters.simulator.supply import FIRMWARES, Faults, Profile, Supply

_POLL_S, _SCAN_S = 0.1, 0.25
# Of one processor; what a waiting process does now and then lies below, a measuring one on a busy machine above.
_BUSY_SHARE = 0.15
_HELP = "commands on standard input: reset, silence SECONDS, garbage, off, on, unplug, plug, quit"


class Load:
    """The power of a machine on which the processes that `find` gives burn CPU or do not."""

    def __init__(
        self,
        find: Callable[[], Iterable[psutil.Process]],
        idle_w: float,
        busy_w: float,
        start_s: float,
        log: IO[str] | None = None,
    ) -> None:
        """`log` gets the power as it is played, a line `SECONDS WATTS` a step: it holds until the next line."""
        self._find = find
        self._states_w = (idle_w, busy_w)
        self._log = log
        self._profile = Profile([])
        self._watts = -1.0
        self._used_s: dict[psutil.Process, float] = {}
        self._polled_s = self._scanned_s = start_s
        self.mean_w = self._profile.mean_w
        self._play(start_s, idle_w)

    @property
    def next_s(self) -> float:
        """When `poll` has something to do next."""
        return self._polled_s + _POLL_S

    def poll(self, now_s: float) -> None:
        """Looks whether the processes were busy since the last time; that is the power from now on."""
        if now_s < self.next_s:
            return
        burned_s = 0.0
        for process, before_s in list(self._used_s.items()):
            used_s = _cpu_s(process)
            if used_s is None:
                del self._used_s[process]
            else:
                self._used_s[process] = used_s
                burned_s += used_s - before_s
        self._play(now_s, self._states_w[burned_s > _BUSY_SHARE * (now_s - self._polled_s)])
        self._polled_s = now_s
        if now_s >= self._scanned_s + _SCAN_S:
            self._scanned_s = now_s
            for process in self._find():
                if process not in self._used_s and (used_s := _cpu_s(process)) is not None:
                    self._used_s[process] = used_s

    def finish(self, now_s: float) -> None:
        """The last line of the log."""
        if self._log is not None:
            print(f"{now_s:.6f} {self._watts:.6f}", file=self._log, flush=True)

    def _play(self, now_s: float, watts: float) -> None:
        if watts != self._watts:
            self._watts = watts
            self._profile.add(now_s, watts)
            self.finish(now_s)


def named(text: str) -> Callable[[], Iterable[psutil.Process]]:
    """Finds the processes of which an argument has `text` in it, other than this one."""

    def find() -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter()
            if process.pid != os.getpid() and any(text in argument for argument in _command(process))
        ]

    return find


def descendants(pid: int) -> Callable[[], Iterable[psutil.Process]]:
    """Finds the processes below another one."""

    def find() -> list[psutil.Process]:
        try:
            below: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
        except psutil.Error:
            return []
        return below

    return find


def _command(process: psutil.Process) -> list[str]:
    try:
        arguments: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return arguments


def _cpu_s(process: psutil.Process) -> float | None:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


def simulate(
    load: Load,
    stations: Sequence[tuple[Link, Supply]],
    control: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Plays until the command `quit` comes over the file `control`, a command a line; its end changes nothing."""
    rest = b""
    while True:
        now_s = clock()
        load.poll(now_s)
        for link, supply in stations:
            for chunk in supply.advance(now_s):
                link.send(chunk.data)
        wake_s = min([load.next_s, *(supply.next_s for _, supply in stations)])
        sources = {source: link for link, _ in stations for source in link.sources()}
        waited = [*sources, *([control] if control is not None else [])]
        for source in select.select(waited, [], [], max(0.0, wake_s - clock()))[0]:
            if source != control:
                sources[source].serve(source)
                continue
            data = os.read(source, 1024)
            control = control if data else None
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                text = line.decode("ascii", "replace").strip()
                if text == "quit":
                    return
                _obey(text, stations, clock())


def _obey(text: str, stations: Sequence[tuple[Link, Supply]], now_s: float) -> None:
    taken = [link.command(text) for link, _ in stations]
    if not text or any(taken):
        return
    try:
        for _, supply in stations:
            supply.command(text, now_s)
    except UsageError as error:
        print(f"edge: {error}, unplug, plug, quit", file=sys.stderr)


def main(argv: Sequence[str]) -> int:
    """Prints the meter's URLs and plays until `quit`, SIGINT or SIGTERM. Returns 0; raises UsageError and the like."""
    arguments = _build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _play(arguments)
    except KeyboardInterrupt:
        pass
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m edge simulate-meter",
        description="Plays a Smart Power whose load follows the measuring processes of this machine.",
        epilog=f"{_HELP}. Example: python -m edge simulate-meter --link /tmp/meter --lost 0.01",
    )
    add = parser.add_argument
    add("--firmware", choices=sorted(FIRMWARES), default="stock", help="what it speaks (default: stock)")
    add("--period", type=float, metavar="SECONDS", help="from line to line (default: the firmware's)")
    add("--tcp", metavar="[HOST:]PORT", help="serve over TCP too; port 0: any that is free")
    add("--no-pty", action="store_true", help="over TCP alone")
    add("--link", type=Path, metavar="PATH", help="make a symbolic link to the pseudo-terminal")
    add("--idle", type=float, default=2.8, metavar="WATTS", help="default: 2.8")
    add("--busy", type=float, default=4.8, metavar="WATTS", help="default: 4.8")
    followed = "edge.devices.measuring_child"
    add("--follow", default=followed, metavar="TEXT", help="watch processes with this in an argument")
    add("--pid", type=int, help="watch the processes below this one instead")
    add("--log", type=Path, metavar="FILE", help="write the power played: lines `SECONDS WATTS`, monotonic")
    add("--boot", type=float, default=5.2, metavar="SECONDS", help="from a reset to the next line")
    add("--seed", type=int, default=0)
    add("--jitter", type=float, default=Faults.jitter_s, metavar="SECONDS", help="largest delay of a line")
    for name in ("lost", "joined", "cut", "debug", "failed"):
        add(f"--{name}", type=float, default=0.0, metavar="SHARE", help="share of the lines, 0..1")
    return parser


def _play(arguments: argparse.Namespace) -> None:
    if arguments.no_pty and arguments.tcp is None:
        raise UsageError("--no-pty leaves nothing to speak over", remedy="give --tcp too")
    if not 0 <= arguments.idle <= arguments.busy:
        raise UsageError(f"0 <= --idle <= --busy is needed, got {arguments.idle} and {arguments.busy}")
    faults = Faults(
        arguments.jitter, arguments.lost, arguments.joined, arguments.cut, arguments.debug, arguments.failed
    )
    find = named(arguments.follow) if arguments.pid is None else descendants(arguments.pid)
    with ExitStack() as stack:
        log = None if arguments.log is None else stack.enter_context(_create(arguments.log))
        start_s = time.monotonic()
        load = Load(find, arguments.idle, arguments.busy, start_s, log)
        links: list[Link] = []
        if not arguments.no_pty:
            links.append(stack.enter_context(closing(PtyLink(arguments.link))))
        if arguments.tcp is not None:
            links.append(stack.enter_context(closing(TcpLink(*_parse_address(arguments.tcp)))))
        stations = [
            (
                link,
                Supply(
                    load.mean_w, start_s, arguments.firmware, isinstance(link, TcpLink), arguments.period,
                    faults, arguments.boot, arguments.seed,
                ),
            )
            for link in links
        ]  # fmt: skip
        scheme = "smartpower3" if arguments.firmware == "smartpower3" else "smartpower2"
        for link in links:
            print(f"{scheme}://{link.url}", flush=True)
        try:
            simulate(load, stations, None if sys.stdin is None else sys.stdin.fileno())
        finally:
            load.finish(time.monotonic())
            for link in links:
                if link.received:
                    print(
                        f"edge: the reader wrote {link.received} bytes to {link.url}, 0 are allowed",
                        file=sys.stderr,
                    )


def _create(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="ascii")
    except OSError as error:
        raise UsageError(
            f"cannot write {path} ({error.strerror})",
            remedy="name a file in a folder that exists",
        ) from error


def _parse_address(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:(.+):)?(\d{1,5})", text, flags=re.ASCII)
    if not found or int(found[2]) > 65535:
        raise UsageError(f"--tcp takes [HOST:]PORT, for example 127.0.0.1:2300, got {text!r}")
    return found[1] or "127.0.0.1", int(found[2])
