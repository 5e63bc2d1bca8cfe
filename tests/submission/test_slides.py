"""The slides of M1, M2 and M3, read back from the files."""

import csv
import io
import shutil
import subprocess
from dataclasses import astuple, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from pptx import Presentation
from pptx.enum.text import MSO_AUTO_SIZE
from pptx.util import Inches, Pt
from rich.console import Console
from table_rows import TABLE1, TABLE2, TABLE3

from compress.errors import UsageError
from search.submission.slides.deck import Deck, overflows, read_slides, write_deck, write_table3_slide
from search.submission.tables import render as tables
from search.submission.tables.rows import Row

FACTS = (
    "Device: this host, AMD EPYC, one thread, ai-edge-litert 2.3.0",
    "Meter: estimate://4.8W, an assumed constant power",
    "Plan: final, 3 passes over 10,000 images, at least 10 s a window",
)
MEMBERS = "Ada Lovelace, Grace Hopper"
MANY = tuple(replace(row, fraction=row.fraction + step) for row in TABLE1[1:] for step in (0.0, 0.01, 0.02))
NUMBERS = ("test_accuracy_percent", "peak_memory_mb", "latency_ms", "max_power_w", "energy_mj")


def deck(milestone: str, rows: tuple[Row, ...], float_rows: tuple[Row, ...] = ()) -> Deck:
    return Deck(milestone, "7", MEMBERS, rows, float_rows, FACTS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every kind of deck, written once: complete, large, tiny, without a meter, without float rows."""
    folder = tmp_path_factory.mktemp("slides")
    unmetered = tuple(replace(row, max_power_w=None, energy_mj=None) for row in TABLE1)
    decks = {
        "m1": deck("m1", TABLE1),
        "m2": deck("m2", TABLE2, TABLE1),
        "large": deck("m1", MANY),
        "tiny": deck("m1", TABLE1[:1]),
        "unmetered": deck("m1", unmetered),
        "alone": deck("m2", TABLE2[3:5]),
    }
    for name, made in decks.items():
        write_deck(folder / f"{name}.pptx", made)
    for road in tables.BOLD3:
        write_table3_slide(folder / f"{road}.pptx", replace(TABLE3, road=road), "7", MEMBERS, FACTS)
    return {path.stem: path for path in folder.glob("*.pptx")}


def charts(path: Path, slide: int) -> list[Any]:
    return [shape.chart for shape in Presentation(str(path)).slides[slide].shapes if shape.has_chart]


@pytest.mark.slow
def test_a_deck_has_five_slides_and_a_cover_with_the_members(made: dict[str, Path]) -> None:
    for name in ("m1", "m2", "tiny"):
        slides = read_slides(made[name])
        assert len(slides) == 5
        assert slides[0].texts[1] == f"Team 7\n{MEMBERS}"
    assert any(
        "0.05, 0.25, 0.5, 0.75, 0.9 x 0, 3, 5 fine-tune epochs" in text for text in read_slides(made["m1"])[1].texts
    )
    assert any("symmetric int8 (the handout says uint8)" in text for text in read_slides(made["m2"])[1].texts)


@pytest.mark.parametrize(("name", "rows"), [("m1", TABLE1), ("m2", TABLE2), ("large", MANY)])
def test_the_table_on_the_slide_holds_the_numbers_of_the_csv(
    made: dict[str, Path], name: str, rows: tuple[Row, ...]
) -> None:
    shown = [line for table in read_slides(made[name])[2].tables for line in table[1:]]
    raw = list(csv.DictReader(io.StringIO(tables.csv_text(rows))))
    assert len(shown) == len(raw) == len(rows)
    for line, values in zip(shown, raw, strict=True):
        numbers = [float(cell) for cell in line[1:]]
        assert numbers == pytest.approx([float(values[number]) for number in NUMBERS], rel=5e-3)


def test_the_heads_are_the_handouts_and_say_what_is_estimated(made: dict[str, Path]) -> None:
    heads = read_slides(made["m1"])[2].tables[0][0]
    assert heads[:4] == tables.COLUMNS[:4]
    assert heads[4:] == ("Maximum power consumption [W] (est.)", "Average energy consumption for one image [mJ] (est.)")
    assert read_slides(made["unmetered"])[2].tables[0][0] == tables.COLUMNS
    mixed = (TABLE1[0], replace(TABLE1[1], estimated=False))
    assert tables.columns(mixed) == tables.COLUMNS
    assert [line[4] for line in tables.body(mixed)] == ["4.80 (est.)", "4.80"]


def test_settings_that_keep_the_rule_are_bold(made: dict[str, Path]) -> None:
    bold = read_slides(made["m1"])[2].bold[0][1:]
    assert [line[1] for line in bold] == [row.test_accuracy_percent >= 70 for row in TABLE1]


def test_charts_are_native_with_a_series_for_each_number_of_epochs(made: dict[str, Path]) -> None:
    latency, memory, energy = charts(made["m1"], 3)
    names = [series.name for series in latency.plots[0].series]
    assert names == ["0 epochs", "3 epochs", "5 epochs", "70 % rule"]
    assert list(latency.plots[0].series[2].values) == [row.test_accuracy_percent for row in TABLE1 if row.epochs == 5]
    titles = [chart.category_axis.axis_title.text_frame.text for chart in (latency, memory, energy)]
    assert titles == ["latency for one image [ms]", "peak memory [MB]", "energy for one image [mJ] (est.)"]
    logarithmic = ["logBase" in chart.category_axis._element.xml for chart in (latency, memory)]
    assert logarithmic == [True, False]
    assert len(charts(made["unmetered"], 3)) == 2, "no energy, no chart of it"
    assert "float32, 5 epochs" in [series.name for series in charts(made["m2"], 3)[0].plots[0].series]


@pytest.mark.parametrize(("road", "columns"), [("latency", [0, 2]), ("energy", [0, 4]), ("fom", [6])])
def test_table_3_is_one_slide_with_the_roads_figures_in_bold(
    made: dict[str, Path], road: str, columns: list[int]
) -> None:
    (slide,) = read_slides(made[road])
    heads, line = slide.tables[0]
    assert [head.removesuffix(" (est.)") for head in heads] == list(tables.COLUMNS3)
    assert line == tables.table3_cells(replace(TABLE3, road=road))
    assert [column for column, bold in enumerate(slide.bold[0][1]) if bold] == columns
    assert any(
        "in published units 3,900,000,000 1/(s x J)" in text and "latency 1.21 %" in text for text in slide.texts
    )


def test_nothing_runs_over_and_nothing_overlaps(made: dict[str, Path]) -> None:
    for path in made.values():
        assert overflows(path) == []
        for slide in Presentation(str(path)).slides:
            boxes = [(s.left, s.top, s.left + s.width, s.top + s.height) for s in slide.shapes]
            for (left, top, right, bottom), (left2, top2, right2, bottom2) in combinations(boxes, 2):
                assert right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top, slide.slide_id


def test_what_runs_over_is_named(tmp_path: Path) -> None:
    presentation = Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    slide.shapes.add_textbox(Inches(9.5), Inches(1), Inches(2), Inches(1)).name = "outside"
    tight = slide.shapes.add_textbox(Inches(1), Inches(1), Inches(1), Inches(0.4))
    tight.name, tight.text_frame.word_wrap, tight.text_frame.auto_size = "tight", True, MSO_AUTO_SIZE.NONE
    run = tight.text_frame.paragraphs[0].add_run()
    run.text, run.font.size = "far more words than there is room for", Pt(20)
    presentation.save(str(tmp_path / "bad.pptx"))
    outside, tight_fault = overflows(tmp_path / "bad.pptx")
    assert outside == "slide 1, outside: is partly outside the slide"
    assert tight_fault.startswith("slide 1, tight: its text needs about")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_file_is_a_usage_error_in_one_line(made: dict[str, Path], tmp_path: Path, share: float) -> None:
    data, bad = made["m1"].read_bytes(), tmp_path / "bad.pptx"
    bad.write_bytes(data[: int(len(data) * share)])
    for check in (read_slides, overflows):
        with pytest.raises(UsageError, match=r"^.*bad\.pptx is not a readable \.pptx .*$") as caught:
            check(bad)
        assert "\n" not in str(caught.value)


def test_a_deck_needs_rows_and_a_known_milestone() -> None:
    with pytest.raises(UsageError, match="no rows for M1"):
        deck("m1", ())
    with pytest.raises(UsageError, match="one of m1, m2, got 'm3'"):
        deck("m3", TABLE1)


def test_the_tables_as_markdown_and_on_the_terminal() -> None:
    text = tables.markdown("Table 2", TABLE2, tables.notes(TABLE2))
    assert "| 0.25, 3 epochs, dynamic | 88.05 |" in text and "| none (unpruned base), dynamic |" in text
    assert "- est.: from an assumed power" in text and "- Maximum memory: peak resident set" in text
    assert "| **71.99** | 57.31 | **0.005461** |" in tables.table3_markdown("Table 3", TABLE3)
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(tables.terminal_table("Table 2", TABLE2), tables.table3_terminal("Table 3", TABLE3))
    second, third = console.export_text().split("Table 3")
    assert {"accuracy", "memory", "latency", "Maximum", "Average"} <= set(second.split())  # no word is broken
    assert "none (unpruned base), dynamic" in second and TABLE2[0].estimated == ("(est.)" in second)
    assert "Average latency for one image [ms]" in third and "0.005461" in third


def test_the_csv_gives_every_field_back() -> None:
    first = next(csv.DictReader(io.StringIO(tables.csv_text([replace(TABLE1[0], energy_mj=None)]))))
    assert first["energy_mj"] == "" and len(first) == len(astuple(TABLE1[0])) and first["latency_ms"] == "1.274"


@pytest.mark.skipif(
    not (shutil.which("soffice") and shutil.which("pdfinfo")), reason="needs LibreOffice and pdfinfo (poppler-utils)"
)
def test_libreoffice_shows_the_same_number_of_pages(made: dict[str, Path], tmp_path: Path) -> None:
    home = f"-env:UserInstallation=file://{tmp_path}/office"  # not the user's own, which may be in use
    command = ["soffice", home, "--headless", "--convert-to", "pdf", "--outdir", str(tmp_path)]
    subprocess.run([*command, str(made["m1"]), str(made["latency"])], check=True, capture_output=True, timeout=300)
    for name, pages in (("m1", 5), ("latency", 1)):
        told = subprocess.run(["pdfinfo", str(tmp_path / f"{name}.pdf")], check=True, capture_output=True, text=True)
        assert f"Pages:{pages}" in told.stdout.replace(" ", "")
