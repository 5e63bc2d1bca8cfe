"""`thrones table`: Tables 1 and 2 from a grid study's storage, on the terminal and as files."""

import csv
import io
import json
from pathlib import Path

import pytest
import squares
from grid_study import HOST, write_grid

from compress.errors import UsageError
from search.milestones.grids import deck_of, from_json, missing_of, rows_of, write_tables
from search.milestones.slides import read_slides
from search.milestones.tables import body, columns, csv_text
from search.storage import load_study


def test_a_table_says_the_same_everywhere(tmp_path: Path) -> None:
    path = write_grid(tmp_path)
    ended = squares.thrones("table", "m1", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = rows_of(load_study(squares.load_config(path, tmp_path / "runs")))
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
    write_tables(tmp_path / "kept", write_grid(tmp_path), tmp_path / "runs")
    for path in (tmp_path / "kept").iterdir():
        assert HOST.encode() not in path.read_bytes()
        assert b"anna" not in path.read_bytes()
    assert json.loads((tmp_path / "kept" / "results.json").read_text())["rows"][0]["measurement"]["device"] == "ssh:"


def test_a_table_of_some_rows_names_the_first_that_is_missing(tmp_path: Path) -> None:
    path = write_grid(tmp_path, rows=5)
    ended = squares.thrones("table", "studies/m1.toml", folder=tmp_path)
    assert "11 rows are missing, the first: fraction 0.25 with 3 epochs, float32" in ended.stdout
    config = squares.load_config(path, tmp_path / "runs")
    assert len(missing_of(config, rows_of(load_study(config)))) == 11


def test_table_2_lies_beside_table_1(tmp_path: Path) -> None:
    write_grid(tmp_path)
    folder, second = tmp_path / "kept", write_grid(tmp_path, "m2")
    assert len(deck_of(second, tmp_path / "runs", "", "").float_rows) == 16
    write_tables(folder, second, tmp_path / "runs")
    assert "int8" in " ".join(" ".join(slide.texts) for slide in read_slides(folder / "M2.pptx"))
    assert "| 0.25, 3 epochs, dynamic |" in (folder / "table.md").read_text()


def test_what_is_no_grid_or_was_not_run_has_no_table(tmp_path: Path) -> None:
    write_grid(tmp_path, rows=0)
    (tmp_path / "studies" / "m3.toml").write_text('road = "latency"\n')
    assert "m4 does not exist; study files there" in squares.refused("table", "m4", folder=tmp_path)
    with pytest.raises(UsageError, match="has no whole row yet; go on with `thrones run "):
        deck_of(tmp_path / "studies" / "m1.toml", tmp_path / "runs", "", "")
    with pytest.raises(UsageError, match="m3 is a search and no grid"):
        deck_of(tmp_path / "studies" / "m3.toml", tmp_path / "runs", "", "")
