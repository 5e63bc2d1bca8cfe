"""`python -m edge simulate-meter`: a Smart Power on a pseudo-terminal and over TCP, for test benches without one."""

import argparse
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

from edge.arguments import Parser
from edge.errors import UsageError
from edge.meters.simulator.links import Link, PtyLink, TcpLink
from edge.meters.simulator.power_profile import Load, descendants, named
from edge.meters.simulator.supply import FIRMWARES, Faults, Supply

_HELP = "commands on standard input: reset, silence SECONDS, garbage, off, on, unplug, plug, quit"


def simulate(
    load: Load,
    stations: Sequence[tuple[Link, Supply]],
    control: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Play until `quit` comes over the file `control`, a command a line; the end of the file changes nothing."""
    rest = b""
    while True:
        now_s = clock()
        load.poll(now_s)
        for link, supply in stations:
            for chunk in supply.advance(now_s):
                link.send(chunk.data)
        wake_s = min([load.next_s, *(supply.next_s for _, supply in stations)])
        sources = {source: link for link, _ in stations for source in link.sources()}
        waited = list(sources)
        if control is not None:
            waited.append(control)
        for source in select.select(waited, [], [], max(0.0, wake_s - clock()))[0]:
            if source != control:
                sources[source].serve(source)
                continue
            data = os.read(source, 1024)
            if not data:
                control = None
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
    """Print the meter's URLs and play until `quit`, SIGINT or SIGTERM. Return 0. Raise UsageError for bad options."""
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
    find = named(arguments.follow)
    if arguments.pid is not None:
        find = descendants(arguments.pid)
    with ExitStack() as stack:
        log = None
        if arguments.log is not None:
            log = stack.enter_context(_create(arguments.log))
        start_s = time.monotonic()
        load = Load(find, arguments.idle, arguments.busy, start_s, log)
        links: list[Link] = []
        if not arguments.no_pty:
            links.append(stack.enter_context(closing(PtyLink(arguments.link))))
        if arguments.tcp is not None:
            links.append(stack.enter_context(closing(TcpLink(*_parse_address(arguments.tcp)))))
        stations = []
        for link in links:
            supply = Supply(
                load.mean_w,
                start_s,
                arguments.firmware,
                isinstance(link, TcpLink),
                arguments.period,
                faults,
                arguments.boot,
                arguments.seed,
            )
            stations.append((link, supply))
        scheme = "smartpower3" if arguments.firmware == "smartpower3" else "smartpower2"
        for link in links:
            print(f"{scheme}://{link.url}", flush=True)
        try:
            simulate(load, stations, sys.stdin.fileno() if sys.stdin else None)
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
