"""A winner built and measured again, as the rules of the competition ask: what Table 3 and the submission rest on."""

import csv
import io
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.audit import audit
from compress.datasets.dataset import Dataset
from compress.errors import CandidateError, UsageError, one_line
from compress.io import write_at_once
from edge.comparison import Images, compare
from edge.devices.local import LocalDevice
from edge.errors import EdgeError
from edge.measuring.measurement import Measurement
from edge.measuring.plan import plan_for
from edge.runtime.tflite import read_operators
from search.cache import Cache
from search.candidate.context import Bench, open_bench
from search.candidate.train import convert_trained, train_candidate
from search.progress import Progress
from search.report.export import nameless
from search.report.formatting import counted, percent
from search.submission.tables.render import BOLD3, table3_markdown
from search.submission.tables.rows import Table3, check_percent
from search.submission.winner import Source

MOST_DIFFERING = 0.002
"""Share of the test images that host and device may label differently: int8 rounds differently on x86 and arm64."""
LEAST_RUNS = 3
"""The rules ask for averages over the entire test set, at least three runs."""
FAR_APART = 0.05
"""Runs whose latencies lie further apart, as a share of the median, were disturbed."""
FOLDER = "replay"
SPREADS = ("latency_ms", "energy_mj", "max_power_w", "peak_memory_mb")


@dataclass(frozen=True)
class Rebuilt:
    """What the specification led to this time."""

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
class Replay:
    """All of a replay, the raw windows of every run included.

    `test_accuracy_percent` is the device's. `rebuilt` is None where it was not asked for. `base` is the key of the
    network that the winner was made of.
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
        """JSON text; `from_json` gives the same back."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str) -> "Replay":
        """The inverse of `to_json`. Raises UsageError for anything else."""
        try:
            data: dict[str, Any] = json.loads(text)
            rebuilt = data["rebuilt"] and Rebuilt(**data["rebuilt"])
            differing = tuple(Differing(**each) for each in data["differing"])
            runs = tuple(Measurement.from_dict(each) for each in data["runs"])
            return Replay(**{**data, "rebuilt": rebuilt, "differing": differing, "runs": runs})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {error}"
            raise UsageError(f"no stored replay ({what}); run `thrones replay` again") from error


def table3(replay: Replay) -> Table3:
    """Medians over the runs. Raises UsageError where no meter gave a power."""
    values = {name: [getattr(run, name) for run in replay.runs] for name in SPREADS}
    if None in values["energy_mj"]:
        raise UsageError("Table 3 needs power and energy, and there was no meter: replay again with --meter")
    first = replay.runs[0].environment
    delegate = f", {first.delegate}" if first.delegate else ""
    threads = replay.runs[0].plan.threads
    medians = {name: median(found) for name, found in values.items()}
    return Table3(
        road=replay.road,
        rule_percent=replay.rule_percent,
        test_accuracy_percent=replay.test_accuracy_percent,
        framework=f"TensorFlow Lite ({first.runtime}{delegate}), {threads} thread{'s' * (threads != 1)}",
        estimated=replay.runs[0].estimated,
        runs=len(replay.runs),
        spreads={name: (max(found) - min(found)) / medians[name] for name, found in values.items()},
        **medians,
    )


def replay(
    source: Source, data: Dataset, progress: Progress, *, plan_name: str = "final", runs: int = 3, rebuild: bool = True
) -> Replay:
    """Check the stored bytes on host and device, build them again from their specification, and measure them.

    Raises UsageError when the accuracy misses the rule, host and device disagree on too many images, or base or
    specification are not those that the winner was made of.
    """
    config = source.config
    before, own = Cache(config.folder.parent / "cache"), Cache(config.folder / "rebuilding")
    for kind in ("teacher", "bases") if rebuild else ():  # these depend on no candidate; all else is made anew
        if (before.folder / kind).is_dir():
            shutil.copytree(before.folder / kind, own.folder / kind, dirs_exist_ok=True)
    with open_bench(config, data, progress, own if rebuild else before) as bench:
        plan = replace(plan_for(plan_name, bench.device.shortest_window_s), threads=source.spec.threads)
        if rebuild and source.base not in (None, bench.base_key):
            raise UsageError(
                f"{source.where} was made of another base than {config.base or 'the bundled one'}, so it cannot be "
                "built again from it: name its own with --base, or leave rebuilding out with --no-rebuild"
            )
        _check_spec(source)
        host, device = _labels(bench, source.model)
        labels = data.test[1]
        differing = _differing(host, device, labels)
        accuracy = float(np.mean(device == labels) * 100)
        for line in check(accuracy, bench.rule_percent, len(labels), differing):
            progress.line(line)
        rebuilt = _rebuild(bench, source) if rebuild else None
        (entry,) = compare(
            bench.device, [(config.name, source.model)], plan, Images(data.test[0]), runs, "raw", progress.phase
        )
        shutil.rmtree(own.folder, ignore_errors=True)  # the next replay builds anew; one that was killed goes on
        return Replay(
            name=config.name,
            road=config.road,
            data=data.name,
            sha256=source.sha256,
            rule_percent=bench.rule_percent,
            test_images=len(labels),
            test_accuracy_percent=accuracy,
            host_accuracy_percent=float(np.mean(host == labels) * 100),
            differing=differing,
            rebuilt=rebuilt,
            runs=tuple(map(nameless, entry.rounds)),
            base=source.base,
        )


def warnings(found: Replay) -> list[str]:
    """What keeps a replay from being submitted, or from being believed: too few runs, or runs that lie far apart."""
    told, plan = [], found.runs[0].plan
    if len(found.runs) < LEAST_RUNS or plan.passes < 1:
        done = f"{counted(len(found.runs), 'run')} by plan {plan.name}"
        told.append(f"{done}: for a submission the rules ask for {LEAST_RUNS} over the whole test set (--plan final)")
    apart = table3(found).spreads["latency_ms"]
    if apart > FAR_APART:
        limit = f"{FAR_APART:.0%}"
        told.append(f"the runs' latencies lie {apart:.0%} apart, more than {limit}: is the device busy? replay again")
    return told


def check(accuracy_percent: float, rule_percent: float, images: int, differing: Sequence[Differing]) -> list[str]:
    """What to be warned of. Raises UsageError for an accuracy below the rule, and too many differing images."""
    share = rule_percent / 100
    sigma = 100 * math.sqrt(share * (1 - share) / images)
    if len(differing) > MOST_DIFFERING * images:
        few = ", ".join(str(each.image) for each in differing[:5])
        raise UsageError(
            f"host and device label {len(differing)} of {images:,} images differently (limit {MOST_DIFFERING:.1%}), "
            f"among them {few}: is the same runtime installed on both? `thrones doctor` tells"
        )
    if accuracy_percent < rule_percent:
        raise UsageError(
            f"{percent(accuracy_percent)} % of the test images misses the rule of {rule_percent:g} %; raise "
            "margin_sigmas in [constraint] and search again under another name (to try others on them is to choose by "
            "them)"
        )
    if accuracy_percent < rule_percent + sigma:
        over = f"{accuracy_percent - rule_percent:.2f} points above the rule of {rule_percent:g} %"
        return [f"warning: {percent(accuracy_percent)} % is only {over}, one sigma of {images:,} images is {sigma:.2f}"]
    return []


def write_replay(folder: Path, source: Source, found: Replay) -> None:
    """Write what a submission needs: model, spec, study file, Table 3, and all figures with their raw windows."""
    table = table3(found)
    for name, content in (
        ("model.tflite", source.model),
        ("spec.json", (json.dumps(source.spec.to_dict(), indent=1) + "\n").encode()),
        (f"{found.name}.toml", source.text.encode()),
        ("table3.md", table3_markdown(f"Table 3, road {found.road}", table).encode()),
        ("results.csv", windows_csv(found.runs).encode()),
        ("results.json", found.to_json().encode()),
    ):
        write_at_once(folder / name, content)


def windows_csv(runs: Sequence[Measurement]) -> str:
    """Every window of every run, a line each."""
    text = io.StringIO()
    figures = ("images", "length_s", "mean_ms", "p50_ms", "p90_ms", "power_w", "max_power_w", "energy_mj")
    writer = csv.DictWriter(text, ("run", "window", *figures), lineterminator="\n")
    writer.writeheader()
    for run, measurement in enumerate(runs, 1):
        for number, window in enumerate(measurement.windows, 1):
            writer.writerow({"run": run, "window": number, **{name: getattr(window, name) for name in figures}})
    return text.getvalue()


def _labels(bench: Bench, model: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What host and device make of every test image; int64 (N,) each."""
    images = bench.data.test[0]
    bench.progress.phase(f"accuracy on all {len(images):,} test images")
    with LocalDevice() as here:  # a process of its own, as on any device: a model may crash it
        host = here.predict(model, images)
    return host, host if bench.device.url == here.url else bench.device.predict(model, images)


def _differing(
    host: NDArray[np.int64], device: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[Differing, ...]:
    found = np.flatnonzero(host != device)
    return tuple(Differing(int(n), int(labels[n]), int(host[n]), int(device[n])) for n in found)


def _check_spec(source: Source) -> None:
    """Raises UsageError where the specification is of another model than the stored one."""
    spec = source.spec
    try:
        audit(read_operators(source.model), spec.architecture(), spec.quantization, spec.io_dtype)
    except (CandidateError, EdgeError) as error:
        raise UsageError(f"{source.where}: its specification does not lead to its model: {one_line(error)}") from error


def _rebuild(bench: Bench, source: Source) -> Rebuilt:
    """The model made again from nothing but the base: no trained network is taken from the cache."""
    bench.progress.phase(f"rebuilding, {source.spec.all_epochs} epochs with those of its ancestors")
    trained = train_candidate(bench, source.spec)
    model = convert_trained(bench, source.spec, trained.weights)
    images, labels = bench.data.test
    with LocalDevice() as here:
        accuracy = float(np.mean(here.predict(model, images) == labels) * 100)
    rebuilt = Rebuilt(sha256(model).hexdigest(), accuracy)
    bench.progress.line(_compared(rebuilt, source, model))
    return rebuilt


def _compared(rebuilt: Rebuilt, source: Source, model: bytes) -> str:
    if rebuilt.sha256 == source.sha256:
        return f"rebuilt from spec, base, data and seed: the same bytes, sha256 {rebuilt.sha256[:12]}"
    return (
        f"rebuilt: other bytes, sha256 {rebuilt.sha256[:12]} instead of {source.sha256[:12]}, {len(model):,} bytes "
        f"instead of {len(source.model):,}, test accuracy {percent(rebuilt.test_accuracy_percent)} %: another version "
        "of thrones may train otherwise (CHANGELOG), and sums of floats come out differently on another processor, "
        "with other threads or library versions, and training magnifies that; the stored file is what was measured, "
        "and it is the one that is submitted"
    )
