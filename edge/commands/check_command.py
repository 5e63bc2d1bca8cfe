"""`python -m edge check`: check this device, and a meter that is connected to it."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from edge.arguments import Parser
from edge.diagnostics import WRONG, as_line, check_device, check_meter
from edge.meters.meter import open_meter


def main(argv: Sequence[str]) -> int:
    """Print what was found. Return 0 when nothing is wrong, else 1. Raise UsageError for a bad meter."""
    parser = Parser(
        prog="python -m edge check",
        description="Check everything that can be wrong with this device, and with a meter that is connected to it.",
        epilog="example: python -m edge check --meter smartpower2:///dev/ttyUSB0",
    )
    parser.add_argument("--meter", metavar="URL", help="a power meter to listen to (default: none)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    findings = check_device()
    if arguments.meter is not None:
        findings += check_meter(open_meter(arguments.meter))
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        print("\n".join(as_line(finding) for finding in findings))
    return int(any(finding.verdict == WRONG for finding in findings))
