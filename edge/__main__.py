"""The device's command line: `python -m edge COMMAND ...`."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from edge.arguments import Parser
from edge.errors import EXIT_INTERRUPTED, ThronesError

# The module whose main(arguments) runs the command and returns the exit code, and its help.
COMMANDS = {
    "measure": ("edge.commands.measure_command", "latency, energy and memory of models on this machine"),
    "serve": ("edge.commands.serve_command", "run and measure models for a host: the agent"),
    "check": ("edge.commands.check_command", "check this machine, and a meter"),
    "simulate-meter": ("edge.meters.simulator.command", "a simulated Smart Power 2, to try a set-up"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 2 bad input, 1 device, meter or measurement, 130 Ctrl-C."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        command = _build_parser().parse_args(arguments[:1]).command
        code: int = import_module(COMMANDS[command][0]).main(arguments[1:])
        return code
    except ThronesError as error:
        print(f"edge: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader has closed its end, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("edge: stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


def _build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m edge",
        description="What runs on the device.",
        epilog="\n".join(["commands:", *(f"  {name:<16}{what}" for name, (_, what) in COMMANDS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command", help="one of those below; each has --help")
    return parser


if __name__ == "__main__":
    sys.exit(main())
