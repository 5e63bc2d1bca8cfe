"""`thrones submit --check`: a whole zip passes, a damaged one fails with the reason and with no other."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import models
import pytest
import squares
from grid_study import write_grid
from hasty import HASTY
from pptx import Presentation
from submissions import Files, found, rewrite, wrong

from compress.errors import UsageError
from edge.diagnostics import DOUBTFUL
from edge.errors import EdgeError
from edge.measuring.plan import PLANS
from search.submission.grid_table import from_json, read_table, to_json
from search.submission.reproduction import Reproduction, table3


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, plan in HASTY.items():
        monkeypatch.setitem(PLANS, name, plan)


@pytest.fixture
def folder(submitted: Path, tmp_path: Path) -> Path:
    """The images, and M3_7.zip to damage."""
    for name in ("squares.npz", "M3_7.zip"):
        shutil.copy(submitted / name, tmp_path)
    return tmp_path


def another_model(files: Files) -> None:
    files["model.tflite"] = models.float_model()


def broken_model(files: Files) -> None:
    files["model.tflite"] = files["model.tflite"][: len(files["model.tflite"]) // 2]


def no_model(files: Files) -> None:
    del files["model.tflite"]


def two_models(files: Files) -> None:
    files["other.tflite"] = files["model.tflite"]


def no_code(files: Files) -> None:
    for name in [name for name in files if name.startswith("code/")]:
        del files[name]


def half_the_code(files: Files) -> None:
    for name in [name for name in files if name.startswith("code/compress/")]:
        del files[name]


def no_slide(files: Files) -> None:
    del files["M3_7.pptx"]


def two_decks(files: Files) -> None:
    files["other.pptx"] = files["M3_7.pptx"]


def no_raw_figures(files: Files) -> None:
    del files["results.json"]


def foreign_raw_figures(files: Files) -> None:
    files["results.json"] = b"{}"


def no_csv(files: Files) -> None:
    del files["results.csv"]


def no_text(files: Files) -> None:
    files["results.csv"] = b"\xff\xfe"


def another_spec(files: Files) -> None:
    files["spec.json"] = json.dumps({**json.loads(files["spec.json"]), "stem_stride": 1}).encode()


def no_spec(files: Files) -> None:
    files["spec.json"] = b"null"


def damaged_study(files: Files) -> None:
    files["squares.toml"] += b"[nonsense]\n"


def claims(**changes: Any) -> Callable[[Files], None]:
    """Other raw figures, and nothing else."""

    def change(files: Files) -> None:
        files["results.json"] = json.dumps({**json.loads(files["results.json"]), **changes}).encode()

    change.__name__ = next(iter(changes))
    return change


def edited_window(files: Files) -> None:
    claim = json.loads(files["results.json"])
    for run in claim["runs"]:
        for window in run["windows"]:
            window["invoke_s"] /= 10
    files["results.json"] = json.dumps(claim).encode()


DAMAGE: list[tuple[Callable[[Files], None], set[str], str]] = [
    (another_model, {"test accuracy", "model", "claimed accuracy", "spec.json"}, "the figures are of"),
    (broken_model, {"model"}, "save the model that was measured"),
    (no_model, {"model"}, "0 .tflite files"),
    (two_models, {"model"}, "2 .tflite files: model.tflite, other.tflite"),
    (no_code, {"code"}, "no file that ends in .py"),
    (half_the_code, {"code"}, "code/compress is missing"),
    (no_slide, {"slides", "slide"}, "0 .pptx files"),
    (two_decks, {"slides", "slide"}, "2 .pptx files: M3_7.pptx, other.pptx"),
    (no_raw_figures, {"results.json"}, "results.json is missing"),
    (foreign_raw_figures, {"results.json"}, "no stored replay"),
    (no_csv, {"results.csv"}, "results.csv is missing"),
    (no_text, {"results.csv"}, "no UTF-8 text"),
    (another_spec, {"spec.json"}, "convolution 0 of the converted model puts out"),
    (no_spec, {"spec.json"}, "a spec must be an object"),
    (damaged_study, {"study file"}, 'squares.toml: unknown key "nonsense"'),
    (claims(test_accuracy_percent=12.0), {"claimed accuracy", "slide"}, "12.00 % claimed"),
    (claims(road="fom"), {"rules"}, "road fom, the study file says latency"),
    (claims(test_images=7), {"rules"}, "7 images of squares, here are 100 of squares"),
    (edited_window, {"results.csv", "slide"}, "line 2 is not what was measured"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("damage", "about", "words"), DAMAGE, ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_zip_fails_with_the_reason(
    damage: Callable[[Files], None], about: set[str], words: str, folder: Path
) -> None:
    rewrite(folder / "M3_7.zip", damage)
    told = wrong(folder / "M3_7.zip")
    assert set(told) == about
    assert words in " ".join(told.values())


def edit_slides(files: Files, change: Callable[[Any], None], folder: Path) -> None:
    path = folder / "edited.pptx"
    path.write_bytes(files["M3_7.pptx"])
    presentation = Presentation(str(path))
    change(presentation)
    presentation.save(str(path))
    files["M3_7.pptx"] = path.read_bytes()


def line_of(presentation: Any) -> list[Any]:
    """The runs of Table 3's figures."""
    (table,) = [shape.table for shape in presentation.slides[0].shapes if shape.has_table]
    return [cell.text_frame.paragraphs[0].runs[0] for cell in list(table.rows)[1].cells]


def edit_number(presentation: Any) -> None:
    line_of(presentation)[2].text = "0.0001"


def add_slide(presentation: Any) -> None:
    presentation.slides.add_slide(presentation.slide_layouts[6])


def make_all_bold(presentation: Any) -> None:
    for run in line_of(presentation):
        run.font.bold = True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"), [(edit_number, "says 0.0001, measured was"), (add_slide, "the rules want exactly one slide")]
)
def test_an_edited_presentation_fails_with_the_reason(
    change: Callable[[Any], None], words: str, folder: Path
) -> None:
    rewrite(folder / "M3_7.zip", lambda files: edit_slides(files, change, folder))
    (told,) = wrong(folder / "M3_7.zip").values()
    assert words in told


@pytest.mark.slow
def test_figures_in_bold_that_do_not_decide_the_road_are_doubtful(folder: Path) -> None:
    rewrite(folder / "M3_7.zip", lambda files: edit_slides(files, make_all_bold, folder))
    doubtful = {each.what for each in found(folder / "M3_7.zip") if each.verdict == DOUBTFUL}
    assert doubtful - {"latency"} == {"test images", "power", "bold"}  # latency: a busy machine


@pytest.mark.slow
def test_a_whole_zip_passes_in_a_folder_of_its_own_too_and_one_misnamed_or_below_the_rule_does_not(
    folder: Path,
) -> None:
    assert wrong(folder / "M3_7.zip") == {}
    whole = found(folder / "M3_7.zip")
    shutil.copy(folder / "M3_7.zip", folder / "milestone3.zip")
    assert "M1_, M2_ or M3_<team>.zip" in wrong(folder / "milestone3.zip")["name"]

    def as_a_mac_packs_it(files: Files) -> None:
        for name in list(files):
            files[f"M3_7/{name}"] = files.pop(name)
            files[f"__MACOSX/M3_7/._{name}"] = b"\0"
        files["M3_7/~$M3_7.pptx"] = b"\0"

    rewrite(folder / "M3_7.zip", as_a_mac_packs_it)
    assert [each.what for each in found(folder / "M3_7.zip")] == [each.what for each in whole]

    def higher_rule(files: Files) -> None:
        name = "M3_7/squares.toml"
        files[name] = files[name].replace(b"accuracy_percent = 60", b"accuracy_percent = 99.99")

    rewrite(folder / "M3_7.zip", higher_rule)
    ended = squares.thrones("submit", "--check", "M3_7.zip", folder=folder)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "the road asks for 99.99 %" in ended.stdout


@pytest.mark.slow
def test_a_submission_made_by_hand_is_checked_by_its_slide(folder: Path) -> None:
    def by_hand(files: Files) -> None:
        for name in [*files]:
            if name not in ("model.tflite", "M3_7.pptx", "squares.toml", "code/edge/devices/local.py"):
                del files[name]

    rewrite(folder / "M3_7.zip", by_hand)
    told = {each.what: each.found for each in found(folder / "M3_7.zip")}
    assert {"claimed accuracy", "FoM", "latency"} <= set(told)
    assert " ms claimed, " in told["latency"] and " ms here on " in told["latency"]
    assert wrong(folder / "M3_7.zip") == {}
    rewrite(folder / "M3_7.zip", lambda files: edit_slides(files, edit_number, folder))
    assert "compute it from the same row" in wrong(folder / "M3_7.zip")["FoM"]

    def as_pdf(files: Files) -> None:
        files["slide.pdf"] = files.pop("M3_7.pptx")
        files["results.json"] = b"[1, 2]"  # another team's own

    rewrite(folder / "M3_7.zip", as_pdf)
    assert wrong(folder / "M3_7.zip") == {}
    assert "slide.pdf cannot be read here" in [each.found for each in found(folder / "M3_7.zip")]


@pytest.mark.slow
def test_a_latency_that_a_busy_machine_cannot_measure_is_doubtful(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANS, "search", replace(PLANS["search"], max_spread=1e-9, attempts=1))
    (latency,) = [each for each in found(folder / "M3_7.zip") if each.what == "latency"]
    assert latency.verdict == DOUBTFUL and " ms claimed, and none here: the windows' mean" in latency.found


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a JSON value something stands, the first of a list standing for all."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from leaves(inner, (*path, key))


@pytest.mark.slow
def test_raw_figures_damaged_anywhere_are_refused_by_name_or_still_make_sense(submitted: Path, tmp_path: Path) -> None:
    table = read_table(squares.load_config(write_grid(tmp_path), tmp_path / "runs"))
    grid = to_json(table.rows, table.measurements)
    replay = (submitted / "runs" / "squares" / "replay" / "results.json").read_text()

    def read_replay(text: str) -> object:
        return table3(Reproduction.from_json(text))

    readers: list[tuple[str, Callable[[str], object]]] = [(grid, from_json), (replay, read_replay)]
    for text, read in readers:
        for path in leaves(json.loads(text)):
            for other in (None, "", [], 0, {}):
                changed = json.loads(text)
                inside = changed
                for key in path[:-1]:
                    inside = inside[key]
                inside[path[-1]] = other
                try:
                    read(json.dumps(changed))
                except (UsageError, EdgeError) as error:
                    assert "\n" not in str(error)
