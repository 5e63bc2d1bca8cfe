"""`python -m edge measure MODEL ...`: models, images and a plan in, a table or JSON out."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.arguments import Parser
from edge.commands.measure_table import as_json, as_table, as_text
from edge.commands.named_files import read_images, read_model
from edge.comparison import Images, compare
from edge.errors import UsageError
from edge.measuring.plan import PLANS, plan_for
from edge.open_device import ON_DEVICE, open_test_bench
from edge.runtime.preprocessing import PIXELS, check_pixels

AUTO = "auto"


@dataclass(frozen=True)
class MeasureOptions:
    """The options of a user; `pixels` is "auto" or one of `preprocessing.PIXELS`. Raises UsageError for others."""

    models: tuple[Path, ...]
    plan: str = AUTO
    threads: int = 1
    device: str = "local:"
    meter: str | None = None
    rounds: int = 1
    pixels: str = AUTO
    as_json: bool = False

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"rounds must be >= 1, got {self.rounds}")
        if self.pixels != AUTO:
            check_pixels(self.pixels)


def main(argv: Sequence[str]) -> int:
    """Measure and print. Return 0. Raise UsageError for bad arguments and as `measure` does."""
    arguments = vars(_build_parser().parse_args(argv))
    path = arguments.pop("images")
    options = MeasureOptions(tuple(arguments.pop("models")), **arguments)
    images = random_images() if path is None else read_images(path)
    print(measure(options, images), flush=True)
    return 0


def measure(options: MeasureOptions, images: Images) -> str:
    """Return the table, or the JSON, of the models. Raises as `edge.comparison.compare`, UsageError for bad input."""
    models = [(str(path), read_model(path)) for path in options.models]
    with open_test_bench(options.device, options.meter or ON_DEVICE) as device:
        plan = replace(plan_for(options.plan, device.shortest_window_s), threads=options.threads)
        pixels = None
        if options.pixels != AUTO:
            pixels = options.pixels
        entries = compare(device, models, plan, images, options.rounds, pixels, _log)
    if options.as_json:
        return as_json(entries)
    if len(models) == options.rounds == 1:
        return as_text(entries[0])
    return as_table(entries, shutil.get_terminal_size().columns)


def random_images() -> Images:
    """Return 100 seeded random images without labels: speed does not depend on what is seen."""
    return Images(np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8))


def _log(line: str) -> None:
    # For a person who waits, not for a script's log.
    if sys.stderr.isatty():
        print(line, file=sys.stderr)


def _build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m edge measure",
        description="Time each model in a process of its own and print every figure with its definition. Several "
        "models, or rounds, are measured in turns and shown beside each other.",
        epilog="example: python -m edge measure model.tflite --plan final --images test.npz --meter estimate://4.8W",
    )
    parser.add_argument("models", metavar="MODEL", type=Path, nargs="+", help=".tflite, or .onnx with thrones[onnx]")
    parser.add_argument(
        "--plan",
        default=AUTO,
        help=f"how long to measure: {', '.join(PLANS)} (default: search, or what the meter needs)",
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="interpreter threads (default: 1)")
    parser.add_argument("--meter", metavar="URL", help="power meter, such as estimate://4.8W (default: none)")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FILE.npz",
        help="x: uint8 (N, 32, 32, 3); y, optional: N labels 0..9; x_train and y_train, optional: to find the pixels "
        "on (default: 100 seeded random images)",
    )
    parser.add_argument(
        "--pixels",
        default=AUTO,
        help="what the models take: " + ", ".join(f"{name} ({what})" for name, what in PIXELS.items())
        + " (default: what gives the best accuracy on x_train, or raw without it)",
    )
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="measure all models N times (default: 1)")
    parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON instead of a table")
    return parser
