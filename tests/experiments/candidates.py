"""What studies measured and trained, one line a candidate: `make candidates RUNS="runs/latency runs/fom"`.

Reads copies, so a study may run meanwhile. What the table holds already stays; a trial that is read again replaces
its line. Nothing in the table names the machine.
"""

import csv
import math
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paths import RESULTS

from compress.architecture import BASE
from compress.errors import UsageError
from compress.spec import CompressionSpec

if TYPE_CHECKING:
    from search.storage.trial_record import TrialRecord

TABLE = RESULTS / "candidates.csv"
COLUMNS = (
    "study",
    "trial",
    "fractions",
    "round_to",
    "dropped_blocks",
    "stem_stride",
    "quantization",
    "epochs",
    "all_epochs",
    "macs",
    "latency_ms",
    "accuracy_percent",
)
KEY = COLUMNS[:7]
DIGITS = 4
WIDTHS = (BASE.stem_width, *(block.width for block in BASE.blocks))


@dataclass(frozen=True)
class Recorded:
    """One line, read back. accuracy_percent: on the validation images after `spec.epochs`, None where not trained.

    spec: without its parent, whose epochs are counted among its own.
    """

    spec: CompressionSpec
    latency_ms: float
    accuracy_percent: float | None


def collect(run: Path) -> list[dict[str, str]]:
    """Return the lines of all studies in `run`, a study's folder or its study.db.

    Raises FileNotFoundError without one, UsageError for a study of another schema.
    """
    import optuna

    from search.storage.open_storage import open_storage
    from search.storage.study_record import check_schema
    from search.storage.trial_record import read_trials

    path = run / "study.db" if run.is_dir() else run
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; name the folder of a study, such as runs/latency")
    with tempfile.TemporaryDirectory(prefix="thrones-") as folder:
        copy = Path(folder) / "study.db"
        shutil.copy(path, copy)
        log = path.with_name(f"{path.name}-wal")
        if log.exists():  # what is not in the file yet
            shutil.copy(log, copy.with_name("study.db-wal"))
        storage = open_storage(f"sqlite:///{copy}")
        try:
            lines = []
            for name in optuna.get_all_study_names(storage):
                study = optuna.load_study(study_name=name, storage=storage)
                check_schema(study)
                for record in read_trials(study):
                    is_measured = record.measurement or record.architecture_measurement
                    if record.state.is_finished() and record.architecture is not None and is_measured:
                        lines.append(_line(name, record))
            return lines
        finally:
            storage.engine.dispose()


def _line(study: str, record: "TrialRecord") -> dict[str, str]:
    """Return the line of a trial that has ended and whose architecture was measured."""
    spec = record.spec
    measurement = record.measurement or record.architecture_measurement
    assert spec is not None and record.architecture is not None and measurement is not None
    accuracy = ""
    if record.evaluation is not None:
        accuracy = f"{record.evaluation.accuracy.validation_percent:.2f}"
    values = {
        "study": study,
        "trial": record.number,
        "fractions": ";".join(f"{value:g}" for value in short_fractions(spec)),
        "round_to": spec.round_to,
        "dropped_blocks": ";".join(map(str, spec.dropped_blocks)),
        "stem_stride": spec.stem_stride,
        "quantization": spec.quantization,
        "epochs": spec.epochs,
        "all_epochs": spec.all_epochs,
        "macs": record.architecture.macs,
        "latency_ms": f"{measurement.latency_ms:.4g}",
        "accuracy_percent": accuracy,
    }
    return {name: str(value) for name, value in values.items()}


def short_fractions(spec: CompressionSpec) -> list[float]:
    """The fractions with few digits that remove the very same channels; 0 for a dropped block."""
    found = []
    for layer, (width, fraction) in enumerate(zip(WIDTHS, spec.pruning_ratios, strict=True)):
        gone = 0 if layer - 1 in spec.dropped_blocks else int(width * fraction + 1e-9)
        found.append(math.ceil(gone / width * 10**DIGITS - 1e-9) / 10**DIGITS)  # rounded down, one channel might stay
    return found


def merge(*tables: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """One line a trial, the last given; sorted."""
    lines = {tuple(line[name] for name in KEY): line for table in tables for line in table}
    return sorted(lines.values(), key=lambda line: (line["study"], int(line["trial"]), *line.values()))


def write(path: Path, lines: Sequence[dict[str, str]]) -> None:
    """Write the table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def read_lines(path: Path) -> list[dict[str, str]]:
    """The table as it is written; empty where there is none."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read(path: Path) -> list[Recorded]:
    """The table as candidates."""
    return [
        Recorded(
            spec=CompressionSpec(
                pruning_ratios=tuple(map(float, line["fractions"].split(";"))),
                round_to=int(line["round_to"]),
                dropped_blocks=tuple(map(int, filter(None, line["dropped_blocks"].split(";")))),
                stem_stride=int(line["stem_stride"]),
                quantization=line["quantization"],
                epochs=int(line["all_epochs"]),
            ),
            latency_ms=float(line["latency_ms"]),
            accuracy_percent=float(line["accuracy_percent"]) if line["accuracy_percent"] else None,
        )
        for line in read_lines(path)
    ]


def main(runs: Sequence[str]) -> None:
    """Add the studies to the table."""
    if not runs:
        sys.exit('name the folders of studies: make candidates RUNS="runs/latency runs/fom"')
    known = read_lines(TABLE)
    try:
        lines = merge(known, *(collect(Path(run)) for run in runs))
    except (FileNotFoundError, UsageError) as error:
        sys.exit(str(error))
    write(TABLE, lines)
    trained = sum(bool(line["accuracy_percent"]) for line in lines)
    print(f"{TABLE}: {len(lines)} candidates, {len(lines) - len(known)} of them new, {trained} trained")


if __name__ == "__main__":
    main(sys.argv[1:])
