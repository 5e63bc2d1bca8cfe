"""What a submission claims, held against its raw figures and against a run of its model here."""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from compress.datasets.dataset import Dataset
from compress.errors import CandidateError, UsageError, one_line
from compress.operators import verify_operators
from compress.spec import CompressionSpec
from edge.comparison import try_pixels
from edge.devices.local import LocalDevice
from edge.diagnostics import DOUBTFUL, OK, WRONG, Finding
from edge.errors import EdgeError, InvalidMeasurementError
from edge.measuring.plan import plan_for
from edge.meters.meter import open_meter
from edge.runtime.preprocessing import PIXELS
from edge.runtime.tflite import read_operators
from search.config import StudyConfig
from search.report.formatting import percent, pluralize, significant
from search.submission import grid_table as grids
from search.submission.check import slide_claims as by_hand
from search.submission.reproduce import MAX_DIFFERING_SHARE
from search.submission.reproduction import MIN_RUNS, Reproduction, table3, windows_csv
from search.submission.slides.slide_reader import SlideText
from search.submission.tables import render as tables
from search.submission.tables.rows import REQUIRED
from search.submission.tables.settings import KEEP_PERCENT

SLOWER = 1.5
"""Two measurements of one model on one kind of processor may differ by so much before it is told."""


def is_ours(folder: Path) -> bool:
    """Whether `thrones submit` has packed this: then its raw figures must be there, and be ours."""
    return (folder / "REPRODUCE.md").is_file()


def least_percent(config: StudyConfig | None, data: Dataset) -> float:
    """The accuracy that a submission must reach: on CIFAR-10 the competition's, on other data the study's own rule."""
    if config is None or data.name == "cifar10":
        return KEEP_PERCENT
    return config.constraint.percent_on(data.rule_percent)


def topmost(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """The files with one of these endings that lie least deep, and not under code/, which may hold more of them."""
    outside = [path for path in folder.iterdir() if path.name != "code"]
    files = [file for path in outside for file in (path.rglob("*") if path.is_dir() else [path])]
    found = [path for path in files if path.is_file() and path.suffix.lower() in endings]
    least = min((len(path.parts) for path in found), default=0)
    return sorted(path for path in found if len(path.parts) == least)


def table(folder: Path, slides: Sequence[SlideText], milestone: int) -> Iterator[Finding]:
    """Table 1 or 2 of thrones: the same on the slides, in the CSV and in the raw windows, and complete."""
    try:
        text = _read(folder / "results.json")
        rows, passes = grids.from_json(text), grids.least_passes(text)
    except (UsageError, EdgeError) as error:
        yield Finding("results.json", one_line(error), WRONG, "pack it again")
        return
    required = REQUIRED[f"m{milestone}"]
    there = {row.key for row in rows}
    missing = [row for row in required if row not in there]
    if missing:
        fraction, epochs, quantization = missing[0]
        found = f"{len(missing)} required rows missing, the first: fraction {fraction:g}, {epochs} epochs, "
        yield Finding(f"Table {milestone}", found + quantization, WRONG, "run the grid to its end")
    elif passes < 1:
        found = "some rows were not measured over the whole test set"
        yield Finding(f"Table {milestone}", found, WRONG, 'run the grid with [measure] search = "whole"')
    else:
        yield Finding(f"Table {milestone}", f"{len(rows)} rows", OK)
    yield _same_text(folder / "table.csv", tables.csv_text(rows))
    texts = dict(zip((row.key for row in rows), tables.body(rows), strict=True))
    needed = [texts[row] for row in required if row in texts]
    yield _on_slides(slides, tables.columns(rows), needed, list(texts.values()))


def winner(
    folder: Path, slides: Sequence[SlideText], config: StudyConfig | None, data: Dataset
) -> Iterator[Finding]:
    """Table 3 and the model: that it runs, and that the claims are its own."""
    ours = is_ours(folder)
    found = topmost(folder, (".tflite",))
    if not found and not ours and (folder / "code").is_dir():
        found = topmost(folder / "code", (".tflite",))
    if len(found) != 1:
        names = ": " + ", ".join(path.name for path in found) if found else ""
        remedy = "put exactly one saved model beside the code"
        yield Finding("model", f"{len(found)} .tflite files{names}", WRONG, remedy)
        return
    model = found[0].read_bytes()
    known = data.name == "cifar10"
    remedy = "" if known else "the competition is about CIFAR-10"
    yield Finding("test images", f"{len(data.test[0]):,} of {data.name}", OK if known else DOUBTFUL, remedy)
    least = least_percent(config, data)
    try:
        accuracy, given = _accuracy(model, data, least)
    except EdgeError as error:
        yield Finding("model", one_line(error), WRONG, "save the model that was measured")
        return
    enough = accuracy >= least
    yield Finding(
        "test accuracy",
        f"{percent(accuracy)} % of {len(data.test[0]):,} images{given}",
        OK if enough else WRONG,
        "" if enough else f"the road asks for {least:g} %",
    )
    if ours:
        yield from _claims(folder, slides, config, data, model, accuracy)
    else:
        yield from _claims_by_hand(folder, slides, model, accuracy)


def _accuracy(model: bytes, data: Dataset, least_percent: float) -> tuple[float, str]:
    """Accuracy in percent on all test images, and what was given for their pixels where that is not 0..255.

    Raises EdgeError for a model that does not run.
    """
    images, labels = data.test
    with LocalDevice() as here:  # the model, which may be anybody's, runs in a process of its own
        accuracy = float(np.mean(here.predict(model, images) == labels) * 100)
        if accuracy >= least_percent:
            return accuracy, ""
        tried = try_pixels(here, model, data.train)
        pixels = max(tried, key=tried.__getitem__)
        if pixels == "raw":
            return accuracy, ""
        return float(np.mean(here.predict(model, images, pixels) == labels) * 100), f", as pixels {PIXELS[pixels]}"


def _claims(
    folder: Path, slides: Sequence[SlideText], config: StudyConfig | None, data: Dataset, model: bytes, accuracy: float
) -> Iterator[Finding]:
    try:
        claim = Reproduction.from_json(_read(folder / "results.json"))
        claimed = table3(claim)
    except (UsageError, EdgeError) as error:
        yield Finding("results.json", one_line(error), WRONG, "pack it again")
        return
    name = sha256(model).hexdigest()
    measured = {claim.sha256, *(run.sha256 for run in claim.runs)}
    same = measured == {name}
    found = f"sha256 {name[:12]}" + ("" if same else f", the figures are of {min(measured - {name})[:12]}")
    yield Finding("model", found, OK if same else WRONG, "" if same else "pack the model that was measured")
    yield _near(claim.test_accuracy_percent, accuracy)
    yield _by_the_rules(claim, config, data)
    if claimed.estimated:
        yield Finding("power", f"assumed, {claim.runs[0].meter}", DOUBTFUL, "replay with --meter to measure it")
    yield _same_text(folder / "results.csv", windows_csv(claim.runs))
    line = tables.table3_cells(claimed)
    yield _on_slides(slides, tables.columns3(claimed), [line], [line])
    yield _bold(slides, tables.columns3(claimed), tables.BOLD3[claimed.road])
    yield _spec(folder, model)
    yield _speed(model, claimed.latency_ms, (claim.runs[0].device, claim.runs[0].environment.cpu))


def _claims_by_hand(folder: Path, slides: Sequence[SlideText], model: bytes, accuracy: float) -> Iterator[Finding]:
    """A submission without raw figures of ours: what its slide says of accuracy, latency and FoM."""
    if (folder / "results.json").exists():
        yield Finding("results.json", "not of thrones, and not looked into", DOUBTFUL, "thrones submit packs its own")
    if not slides:
        return  # told already
    found = by_hand.claims(slides)
    if not found:
        remedy = f"columns: {' | '.join(tables.COLUMNS3)}"
        yield Finding("Table 3", "not on the slide as a table that can be read", WRONG, remedy)
        return
    own = min(found, key=lambda claim: abs(claim.accuracy_percent - accuracy))
    yield _near(own.accuracy_percent, accuracy)
    yield by_hand.fom(own)
    if not own.bold:
        yield Finding("Table 3", "no figure is bold", DOUBTFUL, "the rules want the road's in bold")
    yield from by_hand.others(found, own)
    yield _speed(model, own.latency_ms, None)


def _near(claimed: float, accuracy: float) -> Finding:
    near = abs(claimed - accuracy) <= 100 * MAX_DIFFERING_SHARE
    found = f"{percent(claimed)} % claimed, {percent(accuracy)} % here"
    return Finding("claimed accuracy", found, OK if near else WRONG, "" if near else "measure this very model")


def _by_the_rules(claim: Reproduction, config: StudyConfig | None, data: Dataset) -> Finding:
    """Whether the road, the images and the runs are those that are asked for."""
    images, plan = len(data.test[0]), claim.runs[0].plan
    road = config.road if config else claim.road
    wrong = [
        *[f"road {claim.road}, the study file says {road}"] * (claim.road != road),
        *[f"{pluralize(len(claim.runs), 'run')}, the rules ask for {MIN_RUNS}"] * (len(claim.runs) < MIN_RUNS),
        *[f"runs by plan {plan.name}, which makes no pass over the test set"] * (plan.passes < 1),
        *[f"{claim.test_images:,} images of {claim.data}, here are {images:,} of {data.name}"]
        * ((claim.data, claim.test_images) != (data.name, images)),
    ]
    if wrong:
        return Finding("rules", wrong[0], WRONG, "replay and pack it again")
    found = f"road {claim.road}, {len(claim.runs)} runs, {claim.test_images:,} images of {claim.data}"
    return Finding("rules", found, OK)


def _on_slides(
    slides: Sequence[SlideText], heads: tuple[str, ...], needed: list[tuple[str, ...]], known: list[tuple[str, ...]]
) -> Finding:
    """Whether the slides' table holds all rows that are needed, and none that is not known."""
    shown = [row for slide in slides for grid in slide.tables if grid[:1] == (heads,) for row in grid[1:]]
    if not shown:
        return Finding("slide", "the table with the required columns is missing", WRONG, "thrones submit makes it")
    for wanted in needed:
        if wanted not in shown:
            near = max(shown, key=lambda row: sum(a == b for a, b in zip(row, wanted, strict=False)))
            cell = next(((a, b) for a, b in zip(near, wanted, strict=False) if a != b), ("a row", "another"))
            return Finding("slide", f"says {cell[0]}, measured was {cell[1]}", WRONG, "show what was measured")
    extra = [row for row in shown if row not in known]
    if extra:
        return Finding("slide", f"has a row that was not measured: {extra[0][0]}", WRONG, "show what was measured")
    return Finding("slide", f"{pluralize(len(shown), 'row')} as measured", OK)


def _bold(slides: Sequence[SlideText], heads: tuple[str, ...], decisive: tuple[int, ...]) -> Finding:
    """Whether the figures that decide the road are bold, and no others."""
    bold = {
        column
        for slide in slides
        for grid, marks in zip(slide.tables, slide.bold, strict=True)
        if grid[:1] == (heads,)
        for line in marks[1:]
        for column, marked in enumerate(line)
        if marked
    }
    if bold == set(decisive):
        return Finding("bold", ", ".join(heads[column] for column in decisive), OK)
    found = ", ".join(heads[column] for column in sorted(bold)) or "nothing"
    wanted = ", ".join(heads[column] for column in decisive)
    return Finding("bold", found, DOUBTFUL, f"the rules want the road's figures: {wanted}")


def _same_text(path: Path, wanted: str) -> Finding:
    try:
        lines, right = _read(path).splitlines(), wanted.splitlines()
    except UsageError as error:
        return Finding(path.name, one_line(error), WRONG, "pack it again")
    different = next((n for n, (a, b) in enumerate(zip(lines, right, strict=False), 1) if a != b), None)
    if different is None and len(lines) == len(right):
        return Finding(path.name, "as measured", OK)
    where = f"line {different or min(len(lines), len(right)) + 1} is not what was measured"
    return Finding(path.name, where, WRONG, "pack what was measured")


def _spec(folder: Path, model: bytes) -> Finding:
    """Whether the model is what the specification leads to: its operators, their order and the size of every map."""
    try:
        spec = CompressionSpec.from_dict(json.loads(_read(folder / "spec.json")))
        verify_operators(read_operators(model), spec.architecture(), spec.quantization, spec.io_dtype)
    except (ValueError, CandidateError) as error:
        return Finding("spec.json", one_line(error), WRONG, "pack the winner's spec")
    return Finding("spec.json", f"{spec.quantization}, {spec.architecture().macs:,} MACs, as the model is built", OK)


def _speed(model: bytes, claimed_ms: float, of: tuple[str, str] | None) -> Finding:
    """The claimed latency beside one of here; they compare on the same processor alone.

    of: the device and the processor that it was measured on, as far as that is told.
    """
    images = np.zeros((100, 32, 32, 3), np.uint8)
    try:
        with LocalDevice(open_meter("estimate://1W")) as device:
            here = device.measure(model, plan_for("search", 0.0), images)
    except InvalidMeasurementError as error:  # a busy machine says nothing against the claim
        found = f"{significant(claimed_ms)} ms claimed, and none here: {one_line(error)}"
        return Finding("latency", found, DOUBTFUL, "check again")
    ratio, cpu = here.latency_ms / claimed_ms, here.environment.cpu
    where = f" on {of[1]}" if of else ""
    found = f"{significant(claimed_ms)} ms claimed{where}, {significant(here.latency_ms)} ms here on {cpu}"
    if of == (here.device, cpu) and not 1 / SLOWER <= ratio <= SLOWER:
        return Finding("latency", found, DOUBTFUL, "is this machine busy? check again, or replay")
    return Finding("latency", found, OK)


def _read(path: Path) -> str:
    """A text of the submission. Raises UsageError where it is missing or damaged."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path.name} is missing") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is no UTF-8 text") from error
