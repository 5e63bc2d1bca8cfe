"""The page, the CSV and the tables of a study, from results made by hand."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import optuna
import pandas  # type: ignore[import-untyped]  # no stubs
import pytest
from handmade import NASTY, figures, measurement, study, trial
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]  # plotly ships no types
from rich.console import Console
from rich.table import Table

from search.config import StudyConfig
from search.report import charts, comparison, tables
from search.report import formatting as formats
from search.report.load_results import collect
from search.report.pages import study_page as report
from search.report.results import Phase
from search.report.timeline import timeline_chart

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
        elif self.tags and self.tags[-1][0] in ("td", "th", "a") and data.strip():
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report.write_report(study(), tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")


def cells(table: Table) -> list[tuple[str, ...]]:
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return list(zip(*columns, strict=True))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def printed(table: Table) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


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


def test_the_figures_of_the_closing_table() -> None:
    rows = {row.label: row[1:] for row in comparison.comparison_rows(study())}
    assert rows["test accuracy [%]"] == ("71.02 test", "86.40 test", "-15.38 points")
    assert rows["latency, median [ms]"] == ("0.0121", "0.900", "74.4 x faster")
    assert rows["energy per image [mJ], est."] == ("0.0592", "4.32", "73.0 x less")
    assert rows["power [W], est."][2] == "the same"
    assert rows["model [bytes]"] == ("43,216", "12,870,000", "298 x smaller")
    ours, published = (rows[f"{name}, est."][0] for name in ("FoM [% / (ms x mJ)]", "published FoM [1/(s x J)]"))
    assert (ours, published) == ("99,100", "991,000,000")


def test_measured_and_estimated_are_not_compared() -> None:
    measured = study(base=replace(study().base or figures(), estimated=False))
    rows = {row.label: row for row in comparison.comparison_rows(measured)}
    energy = rows["energy per image [mJ]"]
    assert (energy.best, energy.base, energy.ratio) == ("0.0592 (estimated)", "4.32", "not comparable")
    assert "estimated" not in str(comparison.comparison_rows(study(best=None, base=measured.base)))


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
    assert comparison.verdict(study(**changes)) == sentence


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
        "best so far: trial 0, latency [ms]: 0.0123\n"
        "rule: at least 70.0 % test accuracy; asked for are 71.0 % of the validation images, "
        "a margin of 1.00 points\n"
        "given up early: 1 after the structure"
    )
    text = printed(table)
    assert "[ms]" in text and "[bold]ms[/bold]" in text, "brackets are text, not markup"


COUNTED = {"decision_images": 3_000, "test_images": 10_000}
HELD = {"search_percent": 71.5, "decision_percent": 71.2, "value": 0.0123}


def test_the_rule_says_how_surely_the_best_holds_it() -> None:
    line = tables.rule(study(**COUNTED, trials=(trial(0, **HELD),)))
    assert "a margin of 1.00 points; trial 0 has 71.20 % there: " in line, "of the images that decide"
    # (71.2 - 70) / 0.95394 = 1.2580 sigma
    assert "the test accuracy keeps 70.0 % with at least 89.6 % probability" in line
    assert "(binomial counts of 3,000 and 10,000 images; the only network as good that was held against" in line


def test_the_best_of_many_holds_it_less_surely() -> None:
    """Networks as good as the best that were held against the rule count; each is one more chance of luck."""
    others = (
        trial(1, **{**HELD, "value": 0.0120}),
        trial(2, **{**HELD, "value": 0.0119}, finalist_of=1),  # another format of the same network
        trial(3, **{**HELD, "value": 0.0110, "decision_percent": 60.0}),
        trial(4, **{**HELD, "value": 0.0110, "search_percent": 69.9}),  # not held against it
        trial(5, **{**HELD, "value": 0.0200}),  # could not have been the best
    )
    line = tables.rule(study(**COUNTED, trials=(trial(0, **HELD), *others)))
    assert "at least 68.7 % probability" in line  # 1 - 3 x 0.1042
    assert "one of 3 networks as good that were held against the rule)" in line


def test_the_rule_never_promises_certainty() -> None:
    sure = trial(0, **{**HELD, "decision_percent": 90.0})
    line = tables.rule(study(**COUNTED, trials=(sure,)))
    assert "with more than 99.9 % probability" in line


def test_the_rule_of_an_older_study_has_no_probability(html: str) -> None:
    for results in (
        study(),
        study(decision_images=5_000),
        study(best_trial=None, decision_images=9, test_images=9),
    ):
        assert tables.rule(results).endswith("a margin of 1.00 points")
    assert ["rule", tables.rule(study())] in Page(html).tables[0]


def test_what_is_asked_for_comes_from_the_storage() -> None:
    stored = optuna.create_study()
    config = StudyConfig(road="latency", data="digits")
    older = collect(stored, config)
    assert (older.decision_images, older.test_images, older.tie_tolerance) == (0, 0, 0.0)
    for name, value in (("decision_images", 3_000), ("test_images", 10_000), ("tie_tolerance", 0.02)):
        stored.set_user_attr(name, value)
    newer = collect(stored, config)
    assert (newer.decision_images, newer.test_images, newer.tie_tolerance) == (3_000, 10_000, 0.02)


def test_the_rule_says_what_counts_as_equal() -> None:
    assert "count as equal" not in tables.rule(study())
    assert tables.rule(study(tie_tolerance=0.02)).endswith(
        "; candidates within 2.0 % of the best value count as equal; then the more accurate one is the best"
    )


def test_times_come_from_the_phases_and_in_an_older_study_from_its_seconds() -> None:
    stored = optuna.create_study()
    phases = [["structure", 10.0, 1.0], ["measure structure", 11.0, 2.0], ["waiting", 13.0, 0.5]]
    phases += [["measure", 13.5, 4.0], ["measure", 17.5, 0.25]]
    measured = json.loads(measurement().to_json())
    new = {"phases": phases, "worker": "host:7", "measurement": measured}
    new |= {"structure": {"device": "ssh://first"}, "artifact model.tflite": "abc", "finalist of": 3}
    old = {"seconds": {"structure": 4.0, "train and convert": 90.0}}
    for about in (new, old):
        stored.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.PRUNED, user_attrs=about))
    now, before = collect(stored, StudyConfig(road="latency", data="digits")).trials
    assert now.seconds == {"structure": 1.0, "measure structure": 2.0, "waiting": 0.5, "measure": 4.25}
    assert now.phases[:2] == (Phase("structure", 10.0, 1.0), Phase("measure structure", 11.0, 2.0, "ssh://first"))
    assert now.phases[3].board == measured["device"]
    assert (now.worker, now.artifacts, now.finalist_of) == ("host:7", {"model.tflite": "abc"}, 3)
    assert json.loads(now.measurement_json) == measured
    assert (before.phases, before.seconds, before.worker) == ((), old["seconds"], "")


def test_what_giving_up_early_saved() -> None:
    seconds = {"structure": 4.0, "train and convert": 90.0, "measure": 2.0}
    broken_off = {"structure": 4.0, "train and convert": 30.0}
    given_up = [trial(1, "PRUNED"), trial(2, "PRUNED"), trial(3, "PRUNED", seconds=broken_off)]
    results = study(trials=(trial(0, seconds=seconds), *given_up))
    assert tables.saving_rows(results) == [
        ("free", "2", "0", "12.0", "180"),
        ("structure", "0", "8.00", "0", "0"),
        ("train and convert", "1", "120", "2.00", "60.0"),
        ("measure", "0", "2.00", "0", "0"),
    ]
    line = (
        "given up early: 2 before any measurement, 1 in training; saved about 14 s of device time and 4 min of training"
    )
    assert tables.saved(results) == line
    assert str(tables.trials_table(results).caption).endswith(line)
    assert "–" in tables.saving_rows(study())[1], "no complete trial tells what the rest would have cost"
    assert (tables.saved(EMPTY), tables.saving_rows(EMPTY)) == ("", [])


def test_the_page_shows_the_savings(html: str) -> None:
    assert [[*tables.SAVING_COLUMNS], *map(list, tables.saving_rows(study()))] in Page(html).tables
    assert tables.SAVING_MEANS in html


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
    assert (data["rule"], data["savings"][1]["ended"]) == (tables.rule(study()), 1)


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
    assert "No trial has been given up early yet." in page
    assert "This needs at least 8 complete trials" in page
    assert "None" not in page.replace(get_plotlyjs(), "")
    assert len(pandas.read_csv(report.write_csv(empty, tmp_path))) == 0
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


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123456, "0.0123"), (9.996, "10.0"), (97_912.0, "97,900"), (4.8, "4.80"), (0, "0"), (None, "–")],
)
def test_significant(value: float | None, text: str) -> None:
    assert formats.significant(value) == text


def test_the_front_has_what_nothing_else_beats_in_both() -> None:
    places = ((0.03, 60.0), (0.02, 58.0), (0.03, 65.0), (0.05, 64.0), (0.06, 65.0), (0.07, 72.0))
    measured = [trial(n, figures=figures(latency_ms=ms, accuracy_percent=p)) for n, (ms, p) in enumerate(places)]
    unmeasured = [trial(6, "PRUNED", figures=figures(latency_ms=0.01)), trial(7, "FAIL")]
    results = study(trials=(*measured, *unmeasured))
    assert [each.number for each in results.front] == [1, 2, 5]
    drawn = charts.accuracy_chart(results)
    front = next(trace for trace in drawn.data if trace.name == "front")
    assert (front.x, front.y) == ((0.02, 0.03, 0.07, 0.07), (58.0, 65.0, 72.0, 72.0))


def test_published_entries_are_of_cifar10_and_of_another_device() -> None:
    digits, cifar10 = ([t.name for t in charts.accuracy_chart(study(data=data)).data] for data in ("digits", "cifar10"))
    published = ["published, on a Raspberry Pi 3B+ (other device)", "published, on an Odroid MC1 (other device)"]
    assert cifar10 == [*published, *digits]


def test_where_the_time_went() -> None:
    phases = (Phase("structure", 0, 60), Phase("measure structure", 60, 60), Phase("waiting", 120, 120))
    new = trial(0, phases=phases, seconds={phase.name: phase.seconds for phase in phases})
    old = trial(1, seconds={"structure": 60.0, "train and convert": 300.0})
    bars = charts.seconds_chart(study(trials=(new, old))).data[0]
    assert dict(zip(bars.y, bars.x, strict=True)) == {
        "conversion": 1, "device": 1, "waiting for a device": 2, "structure": 1, "train and convert": 5,
    }  # fmt: skip
    assert bars.text[-1] == "5.00 (50 %)"


def test_the_timeline_has_a_row_for_each_worker_and_each_board(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timeline_chart(study()) == "No times have been recorded yet."
    ann = trial(0, worker="ann:1", phases=(Phase("train", 100, 30), Phase("measure", 130, 10, "ssh://pi")))
    bob = trial(1, worker="bob:2", phases=(Phase("waiting", 110, 30), Phase("measure", 140, 60, "ssh://pi")))
    drawn = timeline_chart(study(trials=(ann, bob)))
    rows = [note.text for note in drawn.layout.annotations]
    assert rows == ["worker ann:1: busy 40 %", "worker bob:2: busy 60 %", "board ssh://pi: busy 70 %"]
    bars = {trace.name: [y for y in trace.y if y == y] for trace in drawn.data}  # without the gaps, which are NaN
    assert bars == {
        "training": [0] * 3, "conversion": [], "device": [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2],
        "waiting for a device": [1] * 3,
    }  # fmt: skip
    monkeypatch.setattr("search.report.timeline.SEGMENTS", 1)
    assert "the last 1 of 2 trials" in timeline_chart(study(trials=(ann, bob))).layout.xaxis.title.text


def test_a_long_table_keeps_what_matters_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "ROWS", 4)
    good = [trial(number, value=value, figures=figures()) for number, value in enumerate((0.5, 0.3, 0.4))]
    results = study(trials=(*good, *(trial(number, "PRUNED") for number in range(3, 9))), best_trial=1)
    page = report.write_page(results, tmp_path, {"3": "trials/3.html"}).read_text(encoding="utf-8")
    (rows,) = [table[1:] for table in Page(page).tables if table[0][0] == "trial"]
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    assert "4 of 9 trials stand here" in page and "All are in trials.csv" in page
