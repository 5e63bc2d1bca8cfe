"""What a submission claims, held against its raw figures and against a run of its model here."""

import json
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from compress.data import Dataset
from compress.errors import UsageError, one_line
from compress.spec import CompressionSpec
from edge import EdgeError, LocalDevice, open_meter, plan_for
from edge.check import DOUBTFUL, OK, WRONG, Finding
from search.formats import percent, significant
from search.milestones import grids, tables
from search.milestones.replay import MOST_DIFFERING, Replay, table3, windows_csv
from search.milestones.slide_check import SlideText

SLOWER = 1.5
"""Two measurements of one model on one kind of processor may differ by so much before it is told."""
REQUIRED = tuple((fraction, epochs) for fraction in (0.05, 0.25, 0.5, 0.75, 0.9) for epochs in (0, 3, 5))
"""The settings that the rules of M1 and M2 ask for."""


def topmost(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """The files with one of these endings that lie least deep, and not under code/, which may hold more of them."""
    outside = [path for path in folder.iterdir() if path.name != "code"]
    files = [file for path in outside for file in (path.rglob("*") if path.is_dir() else [path])]
    found = [path for path in files if path.is_file() and path.suffix.lower() in endings]
    least = min((len(path.parts) for path in found), default=0)
    return sorted(path for path in found if len(path.parts) == least)


def table(folder: Path, slides: Sequence[SlideText], milestone: int) -> Iterator[Finding]:
    """Table 1 or 2: the same on the slides, in the CSV and in the raw windows, and complete."""
    raw = folder / "results.json"
    if not raw.exists():
        shown = any(len(row) == len(tables.COLUMNS) for slide in slides for grid in slide.tables for row in grid)
        found = "on a slide, without raw figures to hold it against" if shown else "no table with the required columns"
        yield Finding(f"Table {milestone}", found, DOUBTFUL if shown else WRONG, "thrones submit packs both")
        return
    try:
        rows = grids.from_json(raw.read_text(encoding="utf-8"))
    except UsageError as error:
        yield Finding("results.json", str(error), WRONG, "run thrones table again")
        return
    there = {(row.fraction, row.epochs) for row in rows}
    missing = [f"fraction {row[0]:g}, {row[1]} epochs" for row in REQUIRED if row not in there]
    if missing:
        found = f"{len(missing)} required rows missing, the first: {missing[0]}"
        yield Finding(f"Table {milestone}", found, WRONG, "run the grid to its end")
    else:
        yield Finding(f"Table {milestone}", f"{len(rows)} rows", OK)
    yield _same_text(folder / "table.csv", tables.csv_text(rows))
    yield _on_slides(slides, tables.columns(rows), tables.body(rows))


def winner(
    folder: Path, slides: Sequence[SlideText], data: Dataset, least_percent: float
) -> Iterator[Finding]:
    """Table 3 and the model: that it runs, and that the claims are its own."""
    found = topmost(folder, (".tflite",))
    if len(found) != 1:
        yield Finding("model", f"{len(found)} .tflite files", WRONG, "put exactly one saved model beside the code")
        return
    model = found[0].read_bytes()
    try:
        with LocalDevice() as here:  # the model, which may be anybody's, runs in a process of its own
            labels = here.predict(model, data.test[0])
    except EdgeError as error:
        yield Finding("model", one_line(error), WRONG, "save the model that was measured")
        return
    accuracy = float(np.mean(labels == data.test[1]) * 100)
    enough = accuracy >= least_percent
    yield Finding(
        "test accuracy",
        f"{percent(accuracy)} % of {len(labels):,} images",
        OK if enough else WRONG,
        "" if enough else f"the road asks for {least_percent:g} %",
    )
    if (folder / "results.json").exists():
        yield from _claims(folder, slides, model, accuracy)
    else:
        yield from _claims_by_hand(slides, accuracy)


def _claims(folder: Path, slides: Sequence[SlideText], model: bytes, accuracy: float) -> Iterator[Finding]:
    try:
        claim = Replay.from_json((folder / "results.json").read_text(encoding="utf-8"))
        claimed = table3(claim)
    except (UsageError, EdgeError) as error:
        yield Finding("results.json", one_line(error), WRONG, "run thrones replay again")
        return
    name = sha256(model).hexdigest()
    measured = {claim.sha256, *(run.sha256 for run in claim.runs)}
    same = measured == {name}
    found = f"sha256 {name[:12]}" + ("" if same else f", the figures are of {min(measured - {name})[:12]}")
    yield Finding("model", found, OK if same else WRONG, "" if same else "pack the model that was measured")
    yield _near(claim.test_accuracy_percent, accuracy)
    yield _same_text(folder / "results.csv", windows_csv(claim.runs))
    yield _on_slides(slides, tables.columns3(claimed), [tables.table3_cells(claimed)])
    yield _spec(folder)
    yield _speed(claim, model)


def _claims_by_hand(slides: Sequence[SlideText], accuracy: float) -> Iterator[Finding]:
    """A submission without raw figures: what its slide says of accuracy and FoM."""
    heads, line = next(
        (
            (grid[0], grid[1])
            for slide in slides
            for grid in slide.tables
            if len(grid) > 1 and "accuracy" in grid[0][0].lower()
        ),
        ((), ()),
    )
    numbers = [re.search(r"\d[\d,]*\.?\d*", cell) for cell in line]
    values = [float(number[0].replace(",", "")) if number else None for number in numbers]
    if len(values) < 7 or None in (values[0], values[2], values[4], values[6]):
        yield Finding("Table 3", "not on the slide as a table", WRONG, f"columns: {' | '.join(tables.COLUMNS3)}")
        return
    said, latency_ms, energy_mj, fom = (float(values[n] or 0) for n in (0, 2, 4, 6))
    yield _near(said, accuracy)
    right = said / (latency_ms * energy_mj) if latency_ms and energy_mj else 0.0
    fits = any(abs(fom / (right * unit) - 1) < 0.02 for unit in (1, 0.01, 10_000) if right)
    told = f"{significant(fom)} in {heads[6]}, accuracy / (latency x energy) is {significant(right)} % / (ms x mJ)"
    yield Finding("FoM", told, OK if fits else WRONG, "" if fits else "compute it from the same row")


def _near(claimed: float, accuracy: float) -> Finding:
    near = abs(claimed - accuracy) <= 100 * MOST_DIFFERING
    found = f"{percent(claimed)} % claimed, {percent(accuracy)} % here"
    return Finding("claimed accuracy", found, OK if near else WRONG, "" if near else "measure this very model")


def _on_slides(slides: Sequence[SlideText], heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Finding:
    """Whether the slides' table holds just these rows."""
    shown = [row for slide in slides for grid in slide.tables if grid[0] == heads for row in grid[1:]]
    if not shown:
        return Finding("slide", "the table with the required columns is missing", WRONG, "thrones submit makes it")
    for wanted in rows:
        if wanted not in shown:
            near = max(shown, key=lambda row: sum(a == b for a, b in zip(row, wanted, strict=False)))
            cell = next(((a, b) for a, b in zip(near, wanted, strict=False) if a != b), ("a row", "another"))
            return Finding("slide", f"says {cell[0]}, measured was {cell[1]}", WRONG, "show what was measured")
    extra = [row for row in shown if row not in rows]
    if extra:
        return Finding("slide", f"has a row that was not measured: {extra[0][0]}", WRONG, "show what was measured")
    return Finding("slide", f"{len(rows)} row{'s' * (len(rows) != 1)} as measured", OK)


def _same_text(path: Path, wanted: str) -> Finding:
    if not path.exists():
        return Finding(path.name, "missing", WRONG, "pack it again")
    lines, right = path.read_text(encoding="utf-8").splitlines(), wanted.splitlines()
    different = next((n for n, (a, b) in enumerate(zip(lines, right, strict=False), 1) if a != b), None)
    if different is None and len(lines) == len(right):
        return Finding(path.name, "as measured", OK)
    where = f"line {different or min(len(lines), len(right)) + 1} is not what was measured"
    return Finding(path.name, where, WRONG, "pack what was measured")


def _spec(folder: Path) -> Finding:
    try:
        spec = CompressionSpec.from_dict(json.loads((folder / "spec.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, UsageError) as error:
        return Finding("spec.json", one_line(error).replace(f"{folder}/", ""), WRONG, "pack the winner's spec")
    return Finding("spec.json", f"{spec.quantization}, {spec.architecture().macs:,} MACs", OK)


def _speed(claim: Replay, model: bytes) -> Finding:
    """The claimed latency beside one of here; they compare on the same processor alone."""
    with LocalDevice(open_meter("estimate://1W")) as device:
        images = np.zeros((100, 32, 32, 3), np.uint8)
        here = device.measure(model, plan_for("search", 0.0), images)
    run = claim.runs[0]
    latency_ms = table3(claim).latency_ms
    ratio = here.latency_ms / latency_ms
    found = f"{significant(latency_ms)} ms claimed on {run.environment.cpu}, {significant(here.latency_ms)} ms here"
    alike = (run.device, run.environment.cpu) == (here.device, here.environment.cpu)
    if alike and not 1 / SLOWER <= ratio <= SLOWER:
        return Finding("latency", found, DOUBTFUL, "is this machine busy? check again, or replay")
    return Finding("latency", found, OK)
