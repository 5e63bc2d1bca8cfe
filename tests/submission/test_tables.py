"""`thrones table`: Tables 1 and 2 from a grid study's storage, on the terminal and as files."""

import csv
import io
import json
from pathlib import Path

import pytest
import squares
from grid_study import HOST, write_grid

from compress.errors import UsageError
from search.storage.open_storage import load_study
from search.submission.check import claims
from search.submission.grid_table import GridTable, first_of, from_json, read_table, write_tables
from search.submission.slides.deck import read_slides
from search.submission.tables.render import body, columns, csv_text


def read(path: Path) -> GridTable:
    config = squares.load_config(path, path.parents[1] / "runs")
    return read_table(config, first_of(config, path))


@pytest.mark.slow
def test_a_table_says_the_same_everywhere(tmp_path: Path) -> None:
    path = write_grid(tmp_path)
    ended = squares.thrones("table", "m1", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = list(read(path).rows)
    assert [(row.fraction, row.epochs) for row in rows][:3] == [(0.0, 0), (0.05, 0), (0.05, 3)]
    assert len(rows) == 16
    folder = tmp_path / "runs" / "m1"
    assert all(f"wrote runs/m1/{name}" in ended.stdout for name in ("table.md", "table.csv", "results.json", "M1.pptx"))
    for row in body(rows):
        assert all(cell in ended.stdout for cell in row)
        assert "| " + " | ".join(row) + " |" in (folder / "table.md").read_text()
    assert "estimate" in (folder / "table.md").read_text()
    assert "thrones run m1.toml" in (folder / "table.md").read_text()
    assert from_json((folder / "results.json").read_text()) == rows
    assert (folder / "table.csv").read_text() == csv_text(rows)
    (first, *_) = csv.DictReader(io.StringIO((folder / "table.csv").read_text()))
    assert (float(first["fraction"]), float(first["test_accuracy_percent"])) == (0.0, 90.8)
    slides = read_slides(folder / "M1.pptx")
    shown = [row for slide in slides for table in slide.tables if table[0] == columns(rows) for row in table[1:]]
    assert (len(slides), shown) == (5, body(rows))


def test_what_is_kept_names_no_machine(tmp_path: Path) -> None:
    write_tables(tmp_path / "kept", read(write_grid(tmp_path)), "m1.toml")
    for path in (tmp_path / "kept").iterdir():
        assert HOST.encode() not in path.read_bytes()
        assert b"anna" not in path.read_bytes()
    assert json.loads((tmp_path / "kept" / "results.json").read_text())["rows"][0]["measurement"]["device"] == "ssh:"


@pytest.mark.slow
def test_a_table_of_some_rows_names_the_first_that_is_missing(tmp_path: Path) -> None:
    path = write_grid(tmp_path, rows=5)
    ended = squares.thrones("table", "studies/m1.toml", folder=tmp_path)
    assert "11 rows missing, the first: fraction 0.25 with 3 epochs, float32" in ended.stdout
    assert len(read(path).missing) == 11


@pytest.mark.slow
def test_table_2_lies_beside_table_1(tmp_path: Path) -> None:
    write_grid(tmp_path)
    folder, second = tmp_path / "kept", write_grid(tmp_path, "m2")
    assert len(read(second).float_rows) == 16
    write_tables(folder, read(second), "m2.toml")
    assert "int8" in " ".join(" ".join(slide.texts) for slide in read_slides(folder / "M2.pptx"))
    assert "| 0.25, 3 epochs, dynamic |" in (folder / "table.md").read_text()


@pytest.mark.slow
def test_table_2_is_not_compared_with_a_table_1_of_another_device(tmp_path: Path) -> None:
    write_grid(tmp_path, device="a Pi")
    table = read(write_grid(tmp_path, "m2"))
    assert table.float_rows == ()
    assert table.left_out == ("Table 1 is not compared with: it was made with another kind of device",)


def test_other_formats_stand_in_the_table_and_nothing_is_said_of_them_as_dynamic(tmp_path: Path) -> None:
    table = read(write_grid(tmp_path, "m2", quantization='["float32", "dynamic", "int8"]'))
    assert (len(table.rows), len(table.float_rows)) == (48, 16)
    deck = table.deck("7", "Ann")
    assert {row.quantization for row in deck.compared} == {"dynamic"}


def test_a_row_that_the_grid_asks_for_otherwise_is_missing_and_one_that_it_no_longer_asks_for_left_out(
    tmp_path: Path,
) -> None:
    path = write_grid(tmp_path)
    text = path.read_text()
    path.write_text(text.replace("[0, 3, 5]", "[0, 1, 5]"))  # five epochs go on from one, not from three
    table = read(path)
    assert {row.epochs for row in table.rows} == {0}
    assert table.missing[0] == "fraction 0.05 with 1 epoch, float32" and len(table.missing) == 10
    assert table.left_out == ("10 rows of an earlier grid, or twice there: not shown",)


@pytest.mark.slow
def test_a_grid_of_more_rows_than_a_slide_holds_shows_those_that_the_rules_ask_for(tmp_path: Path) -> None:
    table = read(write_grid(tmp_path, epochs=str(list(range(10)))))
    assert len(table.rows) == 51
    write_tables(tmp_path / "kept", table, "m1.toml")
    slides = read_slides(tmp_path / "kept" / "M1.pptx")
    assert [each.found for each in claims.check_table(tmp_path / "kept", slides, 1)] == [
        "51 rows", "as measured", "48 rows as measured"
    ]  # fmt: skip
    shown = [line[0] for slide in slides for grid in slide.tables for line in grid]
    assert {"0.9, 0 epochs", "0.9, 3 epochs", "0.9, 5 epochs"} <= set(shown)
    assert "3 more settings are in the CSV" in " ".join(text for slide in slides for text in slide.texts)


def test_of_a_row_that_is_there_twice_one_is_shown(tmp_path: Path) -> None:
    path = write_grid(tmp_path)
    rows = read(path).rows
    study = load_study(squares.load_config(path, tmp_path / "runs"))
    study.add_trial(study.get_trials()[3])
    assert read(path).rows == rows
    assert read(path).left_out == ("1 row of an earlier grid, or twice there: not shown",)


@pytest.mark.slow
def test_what_is_no_grid_or_was_not_run_has_no_table(tmp_path: Path) -> None:
    write_grid(tmp_path, rows=0)
    (tmp_path / "studies" / "m3.toml").write_text('road = "latency"\n')
    assert "m4 does not exist; study files there" in squares.refused("table", "m4", folder=tmp_path)
    with pytest.raises(UsageError, match="has no complete row yet; continue with `thrones run "):
        read(tmp_path / "studies" / "m1.toml")
    with pytest.raises(UsageError, match="m3 is a search and no grid"):
        read(tmp_path / "studies" / "m3.toml")
