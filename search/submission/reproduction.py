"""Store a reproduction: a winner's labels and measurements, Table 3 of them, and the files of a submission."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from compress.io import atomic_write
from edge.errors import UsageError
from edge.measuring.measurement import Measurement
from search.report.formatting import pluralize
from search.submission.tables.render import BOLD3, table3_markdown
from search.submission.tables.rows import Table3, check_percent
from search.submission.winner import Winner

MIN_RUNS = 3
"""The rules ask for averages over the entire test set, at least three runs."""
MAX_LATENCY_SPREAD = 0.05
"""Runs whose latencies differ by more, as a share of the median, were disturbed."""
FOLDER = "replay"
SPREADS = ("latency_ms", "energy_mj", "max_power_w", "peak_memory_mb")


@dataclass(frozen=True)
class Rebuilt:
    """The model that was built again from the specification."""

    sha256: str
    test_accuracy_percent: float


@dataclass(frozen=True)
class Differing:
    """A test image that host and device label differently."""

    image: int
    label: int
    host: int
    device: int


@dataclass(frozen=True)
class Reproduction:
    """A winner checked, built again and measured, with the raw windows of every run.

    test_accuracy_percent: the device's.
    rebuilt: None where rebuilding was not requested.
    base: the key of the base network that the winner was built from.
    """

    name: str
    road: str
    data: str
    sha256: str
    rule_percent: float
    test_images: int
    test_accuracy_percent: float
    host_accuracy_percent: float
    differing: tuple[Differing, ...]
    rebuilt: Rebuilt | None
    runs: tuple[Measurement, ...]
    base: str | None = None

    def __post_init__(self) -> None:
        if self.road not in BOLD3:
            raise UsageError(f"road must be one of {', '.join(BOLD3)}, got {self.road!r}")
        if not isinstance(self.sha256, str) or not isinstance(self.test_images, int):
            raise UsageError(f"sha256 and test_images are no text and number: {self.sha256!r}, {self.test_images!r}")
        for name in ("rule_percent", "test_accuracy_percent", "host_accuracy_percent"):
            check_percent(name, getattr(self, name))
        if not self.runs:
            raise UsageError("a replay needs at least one run, got 0")
        for run in self.runs:
            if not run.latency_ms > 0 or run.energy_mj == 0:
                raise UsageError(f"a run's latency and energy must be > 0, got {run.latency_ms} and {run.energy_mj}")

    def to_json(self) -> str:
        """Return JSON text; `from_json` gives the same reproduction back."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str) -> "Reproduction":
        """Read what `to_json` wrote. Raises UsageError for anything else."""
        try:
            data: dict[str, Any] = json.loads(text)
            rebuilt = data["rebuilt"] and Rebuilt(**data["rebuilt"])
            differing = tuple(Differing(**each) for each in data["differing"])
            runs = tuple(Measurement.from_dict(each) for each in data["runs"])
            return Reproduction(**{**data, "rebuilt": rebuilt, "differing": differing, "runs": runs})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {error}"
            raise UsageError(f"no stored replay ({what})", remedy="run `thrones replay` again") from error


def table3(found: Reproduction) -> Table3:
    """Return the medians over the runs. Raises UsageError where no meter measured or estimated the power."""
    values = {name: [getattr(run, name) for run in found.runs] for name in SPREADS}
    if None in values["energy_mj"]:
        raise UsageError("Table 3 needs power and energy, and there was no meter", remedy="replay again with --meter")
    first = found.runs[0]
    runtime, delegate = first.environment.runtime, first.environment.delegate
    with_delegate = f"{runtime}, {delegate}" if delegate else runtime
    medians = {name: median(measured) for name, measured in values.items()}
    return Table3(
        road=found.road,
        rule_percent=found.rule_percent,
        test_accuracy_percent=found.test_accuracy_percent,
        framework=f"TensorFlow Lite ({with_delegate}), {pluralize(first.plan.threads, 'thread')}",
        estimated=first.estimated,
        runs=len(found.runs),
        spreads={name: (max(measured) - min(measured)) / medians[name] for name, measured in values.items()},
        **medians,
    )


def warnings(found: Reproduction) -> list[str]:
    """Return why a reproduction cannot be submitted or trusted: too few runs, or runs that differ too much."""
    lines = []
    plan = found.runs[0].plan
    if len(found.runs) < MIN_RUNS or plan.passes < 1:
        done = f"{pluralize(len(found.runs), 'run')} by plan {plan.name}"
        lines.append(f"{done}: for a submission the rules ask for {MIN_RUNS} over the whole test set (--plan final)")
    spread = table3(found).spreads["latency_ms"]
    if spread > MAX_LATENCY_SPREAD:
        limit = f"{MAX_LATENCY_SPREAD:.0%}"
        lines.append(f"the runs' latencies differ by {spread:.0%}, more than {limit}: is the device busy? replay again")
    return lines


def write_reproduction(folder: Path, winner: Winner, found: Reproduction) -> None:
    """Write what a submission needs: model, spec, study file, Table 3, and all figures with their raw windows."""
    files = {
        "model.tflite": winner.model,
        "spec.json": (json.dumps(winner.spec.to_dict(), indent=1) + "\n").encode(),
        f"{found.name}.toml": winner.text.encode(),
        "table3.md": table3_markdown(f"Table 3, road {found.road}", table3(found)).encode(),
        "results.csv": windows_csv(found.runs).encode(),
        "results.json": found.to_json().encode(),
    }
    for name, content in files.items():
        atomic_write(folder / name, content)


def windows_csv(runs: Sequence[Measurement]) -> str:
    """Return every window of every run as CSV, a line each."""
    text = io.StringIO()
    figures = ("images", "length_s", "mean_ms", "p50_ms", "p90_ms", "power_w", "max_power_w", "energy_mj")
    writer = csv.DictWriter(text, ("run", "window", *figures), lineterminator="\n")
    writer.writeheader()
    for run, measurement in enumerate(runs, 1):
        for number, window in enumerate(measurement.windows, 1):
            writer.writerow({"run": run, "window": number, **{name: getattr(window, name) for name in figures}})
    return text.getvalue()
