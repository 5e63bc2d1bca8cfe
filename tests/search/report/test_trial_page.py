"""The pages of single trials beside the report, from results made by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from handmade import SPEC, figures, measurement, study, trial

from compress.spec import CompressionSpec
from search.evaluation import EndReason, Phase
from search.report.pages import study_page as report
from search.report.pages.trial_page import (
    MAX_FAILED_PAGES,
    MAX_FINAL_TRAINING_PAGES,
    MAX_FRONT_PAGES,
    trials_with_page,
)
from search.report.results import DevicePhase
from search.strategy.warm_start import weights_only

PARENT = replace(SPEC, pruning_ratios=(0.25,) * 14, epochs=4)
CHILD = replace(SPEC, parent=weights_only(PARENT))


def page_of(number: int, folder: Path) -> str:
    return (folder / "trials" / f"{number}.html").read_text(encoding="utf-8")


def test_who_has_a_page() -> None:
    def on_the_front(number: int) -> object:
        return trial(number, figures=figures(latency_ms=1.0 + number, accuracy_percent=60.0 + number))

    front = [on_the_front(number) for number in range(20)]
    final_trainings = [trial(20 + number, "PRUNED", refined_from=3) for number in range(12)]
    reasons = [*[EndReason.INTERNAL_ERROR] * 8, EndReason.INTERRUPTED]
    failed = [trial(32 + number, "FAIL", end_reason=reason) for number, reason in enumerate(reasons)]
    why = trials_with_page(study(trials=(*front, *final_trainings, *failed), best_trial=19))
    expected = [*range(4, 16), 19, *range(22, 32), *range(35, 40)]
    assert list(why) == expected, "nearest to the constraint of 70 %, or the last"
    assert len(why) == 1 + MAX_FRONT_PAGES + MAX_FINAL_TRAINING_PAGES + MAX_FAILED_PAGES
    assert (why[19], why[10]) == ("the best candidate", "on the front of accuracy and latency")
    both = trials_with_page(study(trials=front, best_trial=10))[10]
    assert both == "the best candidate, on the front of accuracy and latency"


def test_a_page_tells_all_of_its_trial(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "id-1").touch()
    child = trial(
        1,
        spec=CHILD,
        architecture=CHILD.architecture(),
        figures=figures(),
        curve=(60.0, 71.5),
        operators={"CONV_2D": 6},
        phases=(
            DevicePhase(Phase.TRAIN, 1_700_000_000.0, 81.5),
            DevicePhase(Phase.MEASURE, 1_700_000_081.5, 4.0, "ssh://pi"),
        ),
        seconds={Phase.TRAIN: 81.5, Phase.MEASURE: 4.0},
        worker="host:42",
        artifacts={"model.tflite": "id-1", "windows.json": "id-2"},
        measurement=measurement(),
    )
    parent = trial(0, spec=PARENT, architecture=PARENT.architecture(), curve=(50.0,), figures=figures(latency_ms=0.01))
    report.write_report(study(trials=(parent, child), best_trial=1), tmp_path)
    page = page_of(1, tmp_path)
    for words in ("71.20", "stem stride", "512 → dropped", "<polyline", "81.5", "host:42", "ssh://pi", "CONV_2D",
                  "9.00", "3 windows, raw", "1, rejected", "too unsteady", "55.0"):  # fmt: skip
        assert words in page, words
    assert "<td>this trial</td><td>12 epochs</td>" in page and '<td><a href="0.html">trial 0</a></td>' in page
    assert '<a href="../artifacts/id-1" download="model.tflite">' in page and "../artifacts/id-2" not in page
    assert "<script" not in page and len(page) < 20_000


def test_text_of_a_page_is_escaped(tmp_path: Path) -> None:
    report.write_report(study(), tmp_path)
    assert "&lt;script&gt;alert" in page_of(3, tmp_path) and "<script" not in page_of(3, tmp_path)


def test_pages_of_earlier_reports_go_and_only_those(tmp_path: Path) -> None:
    report.write_report(study(), tmp_path)
    (tmp_path / "trials" / "notes.html").touch()
    report.write_report(study(trials=study().trials[:3]), tmp_path)
    assert sorted(path.name for path in (tmp_path / "trials").iterdir()) == ["0.html", "notes.html"]


def test_a_failed_write_leaves_the_old_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report.write_report(study(), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.html")}

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="disk full"):
        report.write_report(study(trials=study().trials[:3]), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_trial_of_the_base_itself_has_a_page(tmp_path: Path) -> None:
    spec = CompressionSpec()
    base = trial(0, spec=spec, architecture=spec.architecture(), figures=figures())
    report.write_report(study(trials=(base,)), tmp_path)
    assert "<td>the base</td>" in page_of(0, tmp_path)
