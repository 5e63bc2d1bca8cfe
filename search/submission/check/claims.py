"""Compare the claims of a submission with its raw figures and with a run of its model here."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from compress.datasets.dataset import Dataset
from edge.diagnostics import DOUBTFUL, OK, WRONG, Finding
from edge.errors import EdgeError, UsageError, one_line
from search.config import StudyConfig
from search.report.formatting import percent, pluralize
from search.submission import grid_table
from search.submission.check import slide_claims
from search.submission.check.slide_rows import check_bold, check_rows
from search.submission.check.submitted_model import check_spec, check_speed, measure_accuracy
from search.submission.check.zip_files import is_ours, read, topmost
from search.submission.reproduce import MAX_DIFFERING_SHARE
from search.submission.reproduction import MIN_RUNS, Reproduction, table3, windows_csv
from search.submission.slides.slide_reader import SlideText
from search.submission.tables import render
from search.submission.tables.rows import REQUIRED, Row
from search.submission.tables.settings import KEEP_PERCENT


def check_table(folder: Path, slides: Sequence[SlideText], milestone: int) -> Iterator[Finding]:
    """Check Table 1 or 2 of thrones: complete, and the same on the slides, in the CSV and in the raw windows."""
    try:
        text = read(folder / "results.json")
        rows, passes = grid_table.from_json(text), grid_table.least_passes(text)
    except (UsageError, EdgeError) as error:
        yield Finding("results.json", one_line(error), WRONG, "pack it again")
        return
    yield _check_complete(rows, passes, milestone)
    yield _check_text(folder / "table.csv", render.csv_text(rows))
    cells = dict(zip((row.key for row in rows), render.body(rows), strict=True))
    required = [cells[key] for key in REQUIRED[f"m{milestone}"] if key in cells]
    yield check_rows(slides, render.columns(rows), required, list(cells.values()))


def _check_complete(rows: Sequence[Row], passes: int, milestone: int) -> Finding:
    measured = {row.key for row in rows}
    missing = [key for key in REQUIRED[f"m{milestone}"] if key not in measured]
    table = f"Table {milestone}"
    if missing:
        fraction, epochs, quantization = missing[0]
        found = f"{len(missing)} required rows missing, the first: fraction {fraction:g}, {epochs} epochs, "
        return Finding(table, found + quantization, WRONG, "run the grid to its end")
    if passes < 1:
        found = "some rows were not measured over the whole test set"
        return Finding(table, found, WRONG, 'run the grid with [measure] search = "whole"')
    return Finding(table, f"{len(rows)} rows", OK)


def check_winner(
    folder: Path, slides: Sequence[SlideText], config: StudyConfig | None, data: Dataset
) -> Iterator[Finding]:
    """Check Table 3 and the model: that it runs, and that the claims are its own.

    Args:
        folder: The unpacked submission.
        slides: What its slides show.
        config: Its study file, None without one.
        data: The images.
    """
    models = _models(folder)
    if len(models) != 1:
        found = f"{len(models)} .tflite files"
        if models:
            found += f": {', '.join(path.name for path in models)}"
        yield Finding("model", found, WRONG, "put exactly one saved model beside the code")
        return
    model = models[0].read_bytes()
    images = f"{len(data.test[0]):,} of {data.name}"
    if data.name == "cifar10":
        yield Finding("test images", images, OK)
    else:
        yield Finding("test images", images, DOUBTFUL, "the competition is about CIFAR-10")
    least = least_percent(config, data)
    try:
        accuracy, scaling = measure_accuracy(model, data, least)
    except EdgeError as error:
        yield Finding("model", one_line(error), WRONG, "save the model that was measured")
        return
    found = f"{percent(accuracy)} % of {len(data.test[0]):,} images{scaling}"
    if accuracy >= least:
        yield Finding("test accuracy", found, OK)
    else:
        yield Finding("test accuracy", found, WRONG, f"the road asks for {least:g} %")
    if is_ours(folder):
        yield from _check_raw_figures(folder, slides, config, data, model, accuracy)
    else:
        yield from _check_slide_claims(folder, slides, model, accuracy)


def _models(folder: Path) -> list[Path]:
    found = topmost(folder, (".tflite",))
    if not found and not is_ours(folder) and (folder / "code").is_dir():
        return topmost(folder / "code", (".tflite",))
    return found


def least_percent(config: StudyConfig | None, data: Dataset) -> float:
    """Return the required accuracy in percent: on CIFAR-10 the competition's, on other data that of the study."""
    if config is None or data.name == "cifar10":
        return KEEP_PERCENT
    return config.constraint.percent_on(data.rule_percent)


def _check_raw_figures(
    folder: Path, slides: Sequence[SlideText], config: StudyConfig | None, data: Dataset, model: bytes, accuracy: float
) -> Iterator[Finding]:
    """Check a submission of thrones: the raw figures against the model, and everything else against them."""
    try:
        claim = Reproduction.from_json(read(folder / "results.json"))
        claimed = table3(claim)
    except (UsageError, EdgeError) as error:
        yield Finding("results.json", one_line(error), WRONG, "pack it again")
        return
    yield _check_hash(claim, sha256(model).hexdigest())
    yield _check_accuracy(claim.test_accuracy_percent, accuracy)
    yield _check_rules(claim, config, data)
    if claimed.estimated:
        yield Finding("power", f"assumed, {claim.runs[0].meter}", DOUBTFUL, "replay with --meter to measure it")
    yield _check_text(folder / "results.csv", windows_csv(claim.runs))
    heads, line = render.columns3(claimed), render.table3_cells(claimed)
    yield check_rows(slides, heads, [line], [line])
    yield check_bold(slides, heads, render.BOLD3[claimed.road])
    yield check_spec(folder, model)
    yield check_speed(model, claimed.latency_ms, (claim.runs[0].device, claim.runs[0].environment.cpu))


def _check_slide_claims(folder: Path, slides: Sequence[SlideText], model: bytes, accuracy: float) -> Iterator[Finding]:
    """Check a submission without raw figures of ours: what its slide says of accuracy, latency and FoM."""
    if (folder / "results.json").exists():
        yield Finding("results.json", "not of thrones, and not looked into", DOUBTFUL, "thrones submit packs its own")
    if not slides:
        return  # reported already
    claims = slide_claims.read_claims(slides)
    if not claims:
        remedy = f"columns: {' | '.join(render.COLUMNS3)}"
        yield Finding("Table 3", "not on the slide as a table that can be read", WRONG, remedy)
        return
    own = min(claims, key=lambda claim: abs(claim.accuracy_percent - accuracy))
    yield _check_accuracy(own.accuracy_percent, accuracy)
    yield slide_claims.check_fom(own)
    if not own.bold:
        yield Finding("Table 3", "no figure is bold", DOUBTFUL, "the rules want the road's in bold")
    yield from slide_claims.check_others(claims, own)
    yield check_speed(model, own.latency_ms, None)


def _check_hash(claim: Reproduction, model_sha256: str) -> Finding:
    others = {claim.sha256, *(run.sha256 for run in claim.runs)} - {model_sha256}
    found = f"sha256 {model_sha256[:12]}"
    if others:
        found += f", the figures are of {min(others)[:12]}"
        return Finding("model", found, WRONG, "pack the model that was measured")
    return Finding("model", found, OK)


def _check_accuracy(claimed: float, accuracy: float) -> Finding:
    found = f"{percent(claimed)} % claimed, {percent(accuracy)} % here"
    if abs(claimed - accuracy) <= 100 * MAX_DIFFERING_SHARE:
        return Finding("claimed accuracy", found, OK)
    return Finding("claimed accuracy", found, WRONG, "measure this very model")


def _check_rules(claim: Reproduction, config: StudyConfig | None, data: Dataset) -> Finding:
    """Check that the road, the images and the runs are those that the rules require."""
    problem = _broken_rule(claim, config, data)
    if problem:
        return Finding("rules", problem, WRONG, "replay and pack it again")
    found = f"road {claim.road}, {len(claim.runs)} runs, {claim.test_images:,} images of {claim.data}"
    return Finding("rules", found, OK)


def _broken_rule(claim: Reproduction, config: StudyConfig | None, data: Dataset) -> str:
    """Describe the first rule that the claim breaks; "" where it keeps all."""
    images, plan = len(data.test[0]), claim.runs[0].plan
    if config is not None and claim.road != config.road:
        return f"road {claim.road}, the study file says {config.road}"
    if len(claim.runs) < MIN_RUNS:
        return f"{pluralize(len(claim.runs), 'run')}, the rules ask for {MIN_RUNS}"
    if plan.passes < 1:
        return f"runs by plan {plan.name}, which makes no pass over the test set"
    if (claim.data, claim.test_images) != (data.name, images):
        return f"{claim.test_images:,} images of {claim.data}, here are {images:,} of {data.name}"
    return ""


def _check_text(path: Path, wanted: str) -> Finding:
    """Check that a file has the lines that follow from the raw figures."""
    try:
        lines, right = read(path).splitlines(), wanted.splitlines()
    except UsageError as error:
        return Finding(path.name, one_line(error), WRONG, "pack it again")
    if lines == right:
        return Finding(path.name, "as measured", OK)
    different = min(len(lines), len(right)) + 1
    for number, (line, expected) in enumerate(zip(lines, right, strict=False), 1):
        if line != expected:
            different = number
            break
    return Finding(path.name, f"line {different} is not what was measured", WRONG, "pack what was measured")
