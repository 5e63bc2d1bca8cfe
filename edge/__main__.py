"""The device's command line: `python -m edge measure MODEL.tflite`."""

import argparse
import json
import sys
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge.device import open_device
from edge.errors import EdgeError, InfeasibleError, UsageError, one_line
from edge.interpreter import check_header, check_images
from edge.measurement import DEFINITIONS, PLANS, Measurement
from edge.meter import open_meter

_FIGURES = {
    "latency_ms": "ms", "mean_ms": "ms", "p90_ms": "ms", "spread": "", "image_ms": "ms",
    "power_w": "W", "max_power_w": "W", "energy_mj": "mJ",
    "peak_memory_mb": "MB", "memory_growth_mb": "MB", "load_ms": "ms", "model_bytes": "bytes",
}  # fmt: skip
_POWER_FIGURES = ("power_w", "max_power_w", "energy_mj")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse prints the usage before it; one line is enough to see what is wrong.
        self.exit(2, f"edge: {one_line(message)}: see `python -m edge --help`\n")


def main(argv: Sequence[str] | None = None, name: str = "edge") -> int:
    """Runs one command; `name` begins its error lines.

    Returns 0, 2 for bad input and 1 when device, meter or measurement fail.
    """
    arguments = _build_parser().parse_args(argv)
    try:
        print(_measure(arguments))
    except (UsageError, InfeasibleError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except EdgeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m edge", description="Runs and measures .tflite models on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser(
        "measure",
        help="measure one model on this machine",
        description="Times one model in a process of its own and prints every figure with its definition.",
        epilog="example: python -m edge measure model.tflite --plan final --images test.npz --meter estimate://4.8W",
    )
    measure.add_argument("model", metavar="MODEL.tflite", type=Path)
    measure.add_argument(
        "--plan", choices=sorted(PLANS), default="search", help="how long to measure (default: search)"
    )
    measure.add_argument(
        "--threads", type=int, default=1, metavar="N", help="interpreter threads (default: 1)"
    )
    measure.add_argument(
        "--meter", metavar="URL", help="power meter, such as estimate://4.8W (default: none)"
    )
    measure.add_argument(
        "--images",
        type=Path,
        metavar="FILE.npz",
        help="x: uint8 (N, 32, 32, 3); y, optional: N labels 0..9 (default: 100 seeded random images)",
    )
    measure.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _measure(arguments: argparse.Namespace) -> str:
    plan = replace(PLANS[arguments.plan], threads=arguments.threads)
    model = _read_model(arguments.model)
    if arguments.images is None:
        images, labels = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8), None
    else:
        images, labels = _read_images(arguments.images)
    with ExitStack() as stack:
        meter = None if arguments.meter is None else stack.enter_context(open_meter(arguments.meter))
        device = stack.enter_context(open_device("local:", meter))
        measurement = device.measure(model, plan, images)
        accuracy = None if labels is None else float(np.mean(device.predict(model, images) == labels)) * 100
    return _as_json(measurement, accuracy) if arguments.json else _as_table(measurement, accuracy)


def _read_model(path: Path) -> bytes:
    try:
        model = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read model {path} ({error.strerror}): give a .tflite file") from error
    try:
        check_header(model)
    except InfeasibleError as error:
        raise InfeasibleError(f"{path}: {error}") from error
    return model


def _read_images(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    arrays = _load_arrays(path)
    if "x" not in arrays:
        raise UsageError(f"{path} holds no array x: save one with numpy.savez(FILE, x=images, y=labels)")
    images, labels = arrays["x"], arrays.get("y")
    try:
        check_images(images)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    if labels is not None and (labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer)):
        raise UsageError(f"{path}: y is {labels.dtype} {labels.shape}; {len(images)} integers are needed")
    return images, labels


def _load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {}
        with loaded as archive:
            return {name: archive[name] for name in ("x", "y") if name in archive}
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise UsageError(f"cannot read images {path} ({reason}): give a .npz file") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} is no .npz file ({one_line(error)}): save one with numpy.savez") from error


def _figures(measurement: Measurement) -> dict[str, float | None]:
    return {name: getattr(measurement, name) for name in _FIGURES}


def _as_json(measurement: Measurement, accuracy_percent: float | None) -> str:
    content = {
        "accuracy_percent": accuracy_percent,
        "figures": _figures(measurement),
        "measurement": asdict(measurement),
        "definitions": DEFINITIONS,
    }
    return json.dumps(content, indent=2, allow_nan=False)


def _as_table(measurement: Measurement, accuracy_percent: float | None) -> str:
    environment = measurement.environment
    plan = measurement.plan
    images = sum(window.images for window in measurement.windows)
    lines = [
        f"model    {measurement.sha256[:12]}, {measurement.model_bytes} bytes",
        f"device   {measurement.device} {environment.host} ({environment.cpu}, {environment.machine})",
        f"meter    {measurement.meter}",
        f"runtime  {environment.runtime}, delegate {environment.delegate or 'none'}, threads {plan.threads}",
        f"plan     {plan.name}: {len(measurement.windows)} windows, {images} images",
        "",
    ]
    for name, value in _figures(measurement).items():
        if value is None:
            shown = "not measured"
        else:
            shown = (
                f"{value} {_FIGURES[name]}"
                if isinstance(value, int)
                else f"{value:.4g} {_FIGURES[name]}".strip()
            )
        mark = " (estimated)" if measurement.estimated and name in _POWER_FIGURES else ""
        lines.append(f"{name:<17}{shown + mark:<22} {DEFINITIONS[name]}")
    accuracy = "not measured" if accuracy_percent is None else f"{accuracy_percent:.2f} %"
    lines.append(
        f"{'accuracy':<17}{accuracy:<22} Share of the given images whose largest output is their label."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
