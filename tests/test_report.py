"""The page, the CSV and the tables of a study, from results made by hand."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas  # type: ignore[import-untyped]  # no stubs
import pytest
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]  # plotly ships no types
from rich.console import Console
from rich.table import Table

from compress.architecture import BASE
from compress.spec import CompressionSpec
from search import report, tables
from search.results import Figures, StudyResults, TrialResult

NASTY = "</script><script>alert('ä')</script> & [bold]ms[/bold]"
SPEC = CompressionSpec(
    fractions=(0.5,) * 14, dropped_blocks=(7, 8), stem_stride=2, epochs=12, quantization="int8", ends="uint8"
)


def figures(name: str = "trial 0", **changes: object) -> Figures:
    values = {
        "name": name,
        "accuracy_percent": 71.2,
        "accuracy_of": "validation",
        "latency_ms": 0.0123456,
        "p90_ms": 0.0131,
        "spread": 0.02,
        "energy_mj": 0.0592,
        "power_w": 4.8,
        "estimated": True,
        "peak_memory_mb": 48.3,
        "memory_growth_mb": 0.4,
        "model_bytes": 43_216,
        "parameters": 31_415,
        "macs": 220_000,
        "sha256": "ab" * 32,
        "plan": "search",
    }
    return Figures(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def trial(number: int, state: str = "COMPLETE", **changes: object) -> TrialResult:
    values = {
        "number": number,
        "state": state,
        "reason": "",
        "feasible": state == "COMPLETE",
        "value": None,
        "figures": None,
        "spec": SPEC,
        "architecture": SPEC.architecture(),
        "operators": {},
        "curve": (),
        "seconds": {},
        "params": {},
    }
    return TrialResult(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def study(**changes: object) -> StudyResults:
    sizes = {"model_bytes": 12_870_000, "parameters": 3_217_226, "macs": 46_000_000, "memory_growth_mb": 14.0}
    test = {"accuracy_of": "test", "plan": "final"}
    base = figures(
        "base", accuracy_percent=86.4, latency_ms=0.9, p90_ms=0.95, energy_mj=4.32, **sizes, **test
    )
    best = figures("best", accuracy_percent=71.02, latency_ms=0.0121, **test)
    slow = figures("trial 1", accuracy_percent=66.6, latency_ms=0.0321)
    values = {
        "name": "latency",
        "road": "latency",
        "data": "cifar10",
        "data_source": "binary batches",
        "rule_percent": 70.0,
        "required_percent": 71.0,
        "device": "local",
        "meter": "estimate://4.8W",
        "environment": {"cpu": "Cortex-A53", "governor": None, "note": NASTY},
        "base": base,
        "best": best,
        "best_trial": 0,
        "compared": True,
        "base_architecture": BASE,
        "importances": {"fraction_3": 0.61, "epochs": 0.12},
        "trials": (
            trial(
                0,
                value=0.0123456,
                figures=figures(),
                curve=(40.0, 71.2),
                seconds={"train": 90.0, "measure": 2},
            ),
            trial(1, value=0.0321, figures=slow, feasible=False, curve=(30.0, 66.6), seconds={"train": 60.0}),
            trial(2, "PRUNED", reason="slower than the best: 0.5 ms > 0.0123 ms", seconds={"structure": 4.0}),
            trial(3, "FAIL", reason=NASTY, spec=None, architecture=None),
            trial(4, "RUNNING"),
        ),
    }
    return StudyResults(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


EMPTY = study(base=None, best=None, best_trial=None, compared=False, importances={}, trials=())


class Page(HTMLParser):
    """The page as a browser sees it: tags with attributes, text by table, scripts apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data
        elif self.tags and self.tags[-1][0] in ("td", "th") and data.strip():
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report.write_report(study(), tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")


def cells(table: Table) -> list[tuple[str, ...]]:
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return list(zip(*columns, strict=True))


def printed(table: Table) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_page_loads_nothing_and_forbids_loading(html: str) -> None:
    page = Page(html)
    assert not [(tag, attrs) for tag, attrs in page.tags if {"src", "href", "srcset", "data"} & set(attrs)]
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


def test_the_figures_of_the_closing_table() -> None:
    rows = {row.label: row[1:] for row in tables.comparison_rows(study())}
    assert rows["test accuracy [%]"] == ("71.02 test", "86.40 test", "-15.38 points")
    assert rows["latency, median [ms]"] == ("0.0121", "0.900", "74.4 x faster")
    assert rows["energy per image [mJ], est."] == ("0.0592", "4.32", "73.0 x less")
    assert rows["power [W], est."][2] == "the same"
    assert rows["model [bytes]"] == ("43,216", "12,870,000", "298 x smaller")
    ours, published = (rows[f"{name}, est."][0] for name in ("FoM [% / (ms x mJ)]", "published FoM [1/(s x J)]"))
    assert (ours, published) == ("99,100", "991,000,000")


def test_measured_and_estimated_are_not_compared() -> None:
    measured = study(base=replace(study().base or figures(), estimated=False))
    rows = {row.label: row for row in tables.comparison_rows(measured)}
    energy = rows["energy per image [mJ]"]
    assert (energy.best, energy.base, energy.ratio) == ("0.0592 (estimated)", "4.32", "not comparable")
    assert "estimated" not in str(tables.comparison_rows(study(best=None, base=measured.base)))


AT = "than the unpruned base at 71.02 % test accuracy"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, f"74.4 x faster {AT}."),
        ({"compared": False}, f"74.4 x faster {AT} (measured in separate runs)."),
        ({"road": "energy"}, f"73.0 x less energy per image (estimated) {AT}."),
        (
            {"base": None},
            "latency, median [ms]: 0.0121, not compared with the unpruned base, at 71.02 % test accuracy.",
        ),
        (
            {"best": figures(accuracy_percent=69.99, accuracy_of="test", latency_ms=0.45)},
            "2.00 x faster than the unpruned base at 69.99 % test accuracy, below the rule of 70.0 %.",
        ),
        ({"best": None}, "No candidate has met the rule yet; 2 of 5 trials are complete."),
    ],
)
def test_verdict(changes: dict[str, object], sentence: str) -> None:
    assert tables.verdict(study(**changes)) == sentence


def test_estimated_is_marked_on_the_page(html: str) -> None:
    assert "energy per image [mJ], est." in html
    assert "est.: from an assumed power, not measured." in html
    assert "estimated, not measured" in html
    assert "energy per image [mJ], estimated" in tables.objective_title(study(road="energy"))
    rows = cells(tables.trials_table(study(road="energy")))
    assert rows[0][4] == "0.0123 (estimated)"


def test_status_table_counts_and_ends_with_the_last() -> None:
    table = tables.trials_table(study(), last=2)
    assert [row[0] for row in cells(table)] == ["3", "4"]
    assert str(table.caption) == (
        "5 trials: 2 complete (1 accurate enough), 1 pruned, 1 failed, 1 running; "
        "best so far: trial 0, latency [ms]: 0.0123"
    )
    text = printed(table)
    assert "[ms]" in text and "[bold]ms[/bold]" in text, "brackets are text, not markup"


def test_layers_say_what_was_dropped() -> None:
    rows = cells(tables.layers_table(study()))
    assert len(rows) == 14
    assert rows[0] == ("stem", "32 → 16", "50 %", "1 → 2")
    assert rows[8] == ("block 7", "512 → dropped", "100 %", "1 → –")


def test_json_is_json_and_has_the_fom() -> None:
    data = json.loads(json.dumps(tables.figures_dict(study()), allow_nan=False))
    assert data["best"]["fom_published"] == pytest.approx(data["best"]["fom"] * 10_000)
    assert data["trials"][0]["figures"]["fom"] > 0
    assert data["speedup"] == pytest.approx(0.9 / 0.0121)
    assert data["layers"][8]["after"] is None


def test_csv_has_a_row_a_trial(tmp_path: Path) -> None:
    frame = pandas.read_csv(report.write_csv(study(), tmp_path))
    assert list(frame["number"]) == [0, 1, 2, 3, 4]
    assert frame.loc[0, "latency_ms"] == 0.0123456
    assert frame.loc[0, "fom"] == pytest.approx(71.2 / (0.0123456 * 0.0592))
    assert (frame.loc[0, "fraction_stem"], frame.loc[0, "fraction_12"], frame.loc[0, "epochs"]) == (
        0.5,
        0.5,
        12,
    )
    assert (frame.loc[0, "quantization"], frame.loc[0, "dropped_blocks"]) == ("int8", "7 8")
    assert frame.loc[3, "reason"] == NASTY
    assert frame["seconds_train"].sum() == 150
    assert "43216," in (tmp_path / "trials.csv").read_text(encoding="utf-8"), "bytes stay whole numbers"


@pytest.mark.parametrize("road", ["latency", "energy", "fom"])
def test_an_empty_study_is_a_sensible_page(road: str, tmp_path: Path) -> None:
    empty = replace(EMPTY, road=road)
    page = report.write_report(empty, tmp_path / "new").read_text(encoding="utf-8")
    assert "No candidate has met the rule yet; 0 of 0 trials are complete." in page
    assert "This needs at least 10 complete trials" in page
    assert "None" not in page.replace(get_plotlyjs(), "")
    assert len(pandas.read_csv(report.write_csv(empty, tmp_path))) == 0
    assert printed(tables.comparison_table(empty)) and printed(tables.trials_table(empty, last=5))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"], (
        "no half-written file stays"
    )


def test_a_failed_write_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = report.write_report(EMPTY, tmp_path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="disk full"):
        report.write_report(study(), tmp_path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123456, "0.0123"), (9.996, "10.0"), (97_912.0, "97,900"), (4.8, "4.80"), (0, "0"), (None, "–")],
)
def test_significant(value: float | None, text: str) -> None:
    assert tables.significant(value) == text
