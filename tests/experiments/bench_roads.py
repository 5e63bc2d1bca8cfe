"""The three winners measured again: `make bench-roads` holds them against their targets and against their own claims.

What `thrones best --results` left in studies/results/latency, energy and fom is measured in turns with the unpruned
base, and its accuracy taken on all test images. Exit code 1 when a target is missed or an accuracy is not the claimed
one. A ratio more than 15 % from the claimed one is told as `differs`, and no more: it depends on the processor.
--markdown measures nothing and prints the README's table from the claims.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from paths import RESULTS

from compress.errors import UsageError
from edge.comparison import Entry, Images, compare
from edge.devices.local import LocalDevice
from edge.measuring.measurement import Measurement
from edge.measuring.plan import PLANS, MeasurePlan
from edge.meters.meter import open_meter
from search.cli.exit_handling import errors_as_one_line
from search.report.exported_result import RESULT_FILE, Comparison, ExportedResult, SearchTime

ROADS = ("latency", "energy", "fom")
METER = "estimate://4.8W"
LEAST_PERCENT = {"latency": 70.5, "energy": 70.5, "fom": 70.0}
LEAST_RATIO = {"latency": 130.0, "energy": 130.0, "fom": 12_000.0}
"""Against the unpruned base of the same run."""
MINUTES = {"60": 45.0, "130": 150.0}
"""Speed-up of the road latency, and the wall time within which the search must have found it."""
TOLERANCE = 0.15
NOT_RUN = "not run yet"
PUBLISHED = (
    ("2021: MobileNet-v1, fraction 0.84, int8, ONNX Runtime", "75.64", "3.577", "28.12", "0.752", "", "Pi 3B+"),
    ("2022: MobileNet-v1, fraction 0.955, int8", "70.2, re-run 68.6", "0.899", "7.08", "", "", "Odroid MC1"),
    ("2023: three blocks by hand, int8, ONNX Runtime", "70.21", "1.516", "21.92", "2.113", "13.2 x", "Pi 3B+"),
    ("2023: unpruned MobileNet-v1, float", "79.41", "19.99", "116.8", "0.034", "1 x", "Pi 3B+"),
)
"""Entries of the competition: what, accuracy in %, ms, mJ, FoM, speed against a base on the same board, board."""
NOT_MEASURED = (*["TO BE MEASURED"] * 5, "x86 host, power assumed")
"""The cells of a winner that is not there."""
HEADS = ("entry", "accuracy [%]", "latency [ms]", "energy [mJ]", "FoM [% / (ms x mJ)]", "against base", "device")


@dataclass(frozen=True)
class Winner:
    """A road's winner: the model, the threads of its specification, and the figures that result.json claims."""

    road: str
    model: bytes
    threads: int
    claim: ExportedResult


class Row(NamedTuple):
    """One line of the table; `word` is ok, MISS or differs."""

    word: str
    road: str
    what: str
    target: str
    reached: str


class Threaded(LocalDevice):
    """This machine, running each model with the threads that its spec asks for."""

    def __init__(self, winners: Sequence[Winner]) -> None:
        super().__init__(open_meter(METER))
        self._threads = {winner.model: winner.threads for winner in winners}

    def measure(
        self, model: bytes, plan: MeasurePlan, images: NDArray[np.uint8], pixels: str = "raw"
    ) -> Measurement:
        """As `LocalDevice.measure`, the plan's threads replaced."""
        return super().measure(model, replace(plan, threads=self._threads.get(model, 1)), images, pixels)


def read_winners(folder: Path) -> dict[str, Winner]:
    """The roads that have a winner. Raises UsageError for a folder that is not whole."""
    return {road: _read(folder / road, road) for road in ROADS if (folder / road / "model.tflite").is_file()}


def _read(folder: Path, road: str) -> Winner:
    try:
        claim = ExportedResult.read(folder / RESULT_FILE)
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder}: {error}; write it again with `thrones best --results {folder}`") from error
    model = (folder / "model.tflite").read_bytes()
    if sha256(model).hexdigest() != claim.sha256:
        raise UsageError(f"{folder}/model.tflite is not the one that result.json speaks of: another sha256")
    return Winner(road, model, spec["threads"], claim)


def measure_winners(winners: Sequence[Winner], data: Any, plan: MeasurePlan, rounds: int) -> tuple[Entry, list[Entry]]:
    """The unpruned float base and each of the winners, measured in turns, with their accuracy on the test images."""
    from compress.conversion.convert import ConversionJob, Converter
    from compress.quantization import Quantization
    from compress.spec import CompressionSpec
    from search.candidate.inputs.base_network import bundled_weights

    weights = bundled_weights()
    with Converter() as converter:
        base = converter.convert(ConversionJob(CompressionSpec().architecture(), weights, Quantization.FLOAT32))
    names: dict[bytes, str] = {}  # two roads may have the same winner
    for winner in winners:
        names[winner.model] = " and ".join(filter(None, [names.get(winner.model), winner.road]))
    models = [("unpruned base", base), *((name, model) for model, name in names.items())]
    with Threaded(winners) as device:
        first, *others = compare(
            device, models, plan, Images(*data.test), rounds, "raw", lambda line: print(line, file=sys.stderr)
        )
    entries = dict(zip(names, others, strict=True))
    return first, [entries[winner.model] for winner in winners]


def rows_of(winner: Winner, base: Entry, entry: Entry) -> list[Row]:
    """A winner against its road's targets and its own claims."""
    road = winner.road
    accuracy, claimed = entry.accuracy_percent or 0.0, winner.claim.accuracy_percent.test
    what, ratio = _ratio(road, base, entry)
    said = _figure(winner.claim, road).ratio
    near = said is not None and abs(ratio / said - 1) <= TOLERANCE
    told = "none" if said is None else f"{said:,.1f} x"
    least_percent, least_ratio = LEAST_PERCENT[road], LEAST_RATIO[road]
    reached, times = f"{accuracy:.2f} %", f"{ratio:,.1f} x"
    return [
        _row(accuracy >= least_percent, road, "test accuracy", f">= {least_percent:.2f} %", reached),
        _row(ratio >= least_ratio, road, what, f">= {least_ratio:,.0f} x", times),
        _row(f"{claimed:.2f} %" == reached, road, "claimed accuracy", f"= {claimed:.2f} %", reached),
        Row("ok" if near else "differs", road, "claimed ratio", f"{told} +- {TOLERANCE:.0%}", times),
    ]


def _ratio(road: str, base: Entry, entry: Entry) -> tuple[str, float]:
    """What the road counts, and how many times better than the base it is."""
    if road == "fom":
        return "FoM, est.", (entry.fom or 0.0) / (base.fom or np.inf)
    name, what = ("latency_ms", "latency") if road == "latency" else ("energy_mj", "energy, est.")
    return what, (base.figure(name) or 0.0) / (entry.figure(name) or np.inf)


def _figure(claim: ExportedResult, road: str) -> Comparison:
    """Return the figure that decides the road."""
    figures = {"latency": claim.latency_ms, "energy": claim.energy_mj, "fom": claim.fom}
    return figures[road]


def rows_of_time(time: SearchTime | None) -> list[Row]:
    """Return how soon the road latency reached its speed-ups; None: it was not run."""
    reached = (time and time.speedup_reached_after_minutes) or {}
    rows = []
    for speedup, limit in MINUTES.items():
        minutes = reached.get(speedup)
        if minutes is not None:
            shown = f"{minutes:.1f} min"
        else:
            shown = "never" if time else NOT_RUN
        kept = minutes is not None and minutes <= limit
        rows.append(_row(kept, "time", f"{speedup} x faster than the base", f"<= {limit:.0f} min", shown))
    return rows


def _row(kept: bool, road: str, what: str, target: str, reached: str) -> Row:
    return Row("ok" if kept else "MISS", road, what, target, reached)


def markdown(winners: dict[str, Winner]) -> str:
    """The README's table: our winners and base by their claims, and the published entries."""
    rows: list[Sequence[str]] = [HEADS]
    for road in ROADS:
        cells = _best_cells(winners[road].claim) if road in winners else NOT_MEASURED
        rows.append((f"thrones, road {road}", *cells))
    cells = _base_cells(winners["latency"].claim) if "latency" in winners else NOT_MEASURED
    rows.append(("thrones, unpruned base, float", *cells))
    lines = ["| " + " | ".join(cell or "–" for cell in row) + " |" for row in (*rows, *PUBLISHED)]
    lines.insert(1, "|---|" + "---:|" * (len(HEADS) - 2) + "---|")
    return "\n".join(lines)


def _best_cells(claim: ExportedResult) -> tuple[str, ...]:
    shown = [_four(_figure(claim, road).best) for road in ROADS]
    return f"{claim.accuracy_percent.test:.2f}", *shown, f"{claim.latency_ms.ratio:.1f} x", _device(claim)


def _base_cells(claim: ExportedResult) -> tuple[str, ...]:
    shown = [_four(_figure(claim, road).base) for road in ROADS]
    return f"{claim.accuracy_percent.base_test:.2f}", *shown, "1 x", _device(claim)


def _device(claim: ExportedResult) -> str:
    cpu = str(claim.environment["cpu"])
    return f"{cpu}, power assumed" if claim.energy_mj.estimated else cpu


def _four(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if value < 9999.5 else f"{value:,.0f}"


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [Row("", "road", "what", "target", "reached"), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a target is missed."""
    asked = _arguments(arguments)
    winners = read_winners(asked.results)
    if asked.markdown:
        print(markdown(winners))
        return 0
    rows = [Row("MISS", road, "model.tflite", "is there", NOT_RUN) for road in ROADS if road not in winners]
    if winners:
        from compress.datasets.load import load

        data = load("cifar10", asked.data)
        base, entries = measure_winners([*winners.values()], data, PLANS[asked.plan], asked.rounds)
        here = base.rounds[0].environment
        print(f"{here.cpu}, {here.runtime}, plan {asked.plan}, {asked.rounds} rounds in turns, meter {METER}")
        print(f"unpruned base: {base.accuracy_percent:.2f} %, {base.figure('latency_ms'):.4g} ms")
        for winner, entry in zip(winners.values(), entries, strict=True):
            rows += rows_of(winner, base, entry)
    rows += rows_of_time(winners["latency"].claim.time if "latency" in winners else None)
    print(table(rows))
    return int(any(row.word == "MISS" for row in rows))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench_roads.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--plan", default="final", choices=[*PLANS], help="short for a quick look (default: final)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="so often, in turns (default: 3)")
    parser.add_argument("--data", type=Path, help="CIFAR-10: a cifar-10-batches-py folder or .npz (or THRONES_DATA)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the winners' folders")
    parser.add_argument("--markdown", action="store_true", help="print the README's table from the claims")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with errors_as_one_line():
        sys.exit(main())
