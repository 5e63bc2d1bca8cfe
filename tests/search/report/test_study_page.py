"""The page of a study and its CSV, from results made by hand."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from handmade import EMPTY, NASTY, figures, study, trial
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]  # plotly ships no types
from report_pages import Page, cells, printed

from search.objective import Objective
from search.report import sentences, tables
from search.report.pages import study_page as report


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report.write_report(study(), tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_page_loads_nothing_and_forbids_loading(html: str) -> None:
    page = Page(html)
    assert not [(tag, attrs) for tag, attrs in page.tags if {"src", "srcset", "data"} & set(attrs)]
    links = [(tag, attrs["href"]) for tag, attrs in page.tags if "href" in attrs]
    assert links == [("a", "trials/0.html"), ("a", "trials/3.html")], "to the pages of trials, and nowhere else"
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "embed", "img", "base")]
    policy = next(attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv"))
    assert policy and policy.startswith("default-src 'none'") and "http" not in policy
    style = re.search("<style>(.*?)</style>", html, re.DOTALL)
    assert style and "url(" not in style[1] and "@import" not in style[1]
    own = [script for script in page.scripts if len(script) < 1_000_000]
    assert not [script for script in own if "//cdn" in script or re.search("https?://(?!plot)", script)]
    assert sum(len(script) >= 1_000_000 for script in page.scripts) == 1, "plotly.js is there once"


def test_text_is_escaped_everywhere(html: str) -> None:
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    page = Page(html)
    assert not [script for script in page.scripts if script.startswith("alert")]
    assert any(NASTY in row[-2] for table in page.tables for row in table if len(row) > 2)


def test_page_and_terminal_show_the_same_rows(html: str) -> None:
    shown = Page(html).tables
    for table in (tables.comparison_table(study()), tables.layers_table(study())):
        head = [str(column.header) for column in table.columns]
        assert [head, *map(list, cells(table))] in shown
    trials = next(table for table in shown if table[0][0] == "trial")
    assert [tuple(row[:-1]) for row in trials[1:]] == cells(tables.trials_table(study()))


def test_estimated_is_marked_on_the_page(html: str) -> None:
    assert "energy per image [mJ], est." in html
    assert "est.: from an assumed power, not measured." in html
    assert "estimated, not measured" in html


def test_the_page_shows_the_constraint(html: str) -> None:
    assert ["accuracy constraint", sentences.constraint_text(study())] in Page(html).tables[0]


def test_the_page_shows_the_savings(html: str) -> None:
    assert [[*tables.SAVING_COLUMNS], *map(list, tables.saving_rows(study()))] in Page(html).tables
    assert tables.SAVING_MEANS in html


@pytest.mark.parametrize("objective", Objective)
def test_an_empty_study_is_a_sensible_page(objective: Objective, tmp_path: Path) -> None:
    empty = replace(EMPTY, objective=objective)
    page = report.write_report(empty, tmp_path / "new").read_text(encoding="utf-8")
    assert "No candidate meets the accuracy constraint yet; 0 of 0 trials are complete." in page
    assert "No trial has been pruned yet." in page
    assert "This needs at least 8 complete trials" in page
    assert "None" not in page.replace(get_plotlyjs(), "")
    assert printed(tables.comparison_table(empty)) and printed(tables.trials_table(empty, last=5))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"], "nothing else, nothing half-written"


def test_a_failed_write_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = report.write_report(EMPTY, tmp_path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="disk full"):
        report.write_report(study(), tmp_path)
    assert path.read_bytes() == before and files(tmp_path) == ["report.html"]


def test_a_long_table_keeps_what_matters_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_ROWS", 4)
    good = [trial(number, value=value, figures=figures()) for number, value in enumerate((0.5, 0.3, 0.4))]
    results = study(trials=(*good, *(trial(number, "PRUNED") for number in range(3, 9))), best_trial=1)
    page = report.write_page(results, tmp_path, {"3": "trials/3.html"}).read_text(encoding="utf-8")
    (rows,) = [table[1:] for table in Page(page).tables if table[0][0] == "trial"]
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    assert "The table has 4 of 9 trials" in page and "All are in trials.csv" in page
