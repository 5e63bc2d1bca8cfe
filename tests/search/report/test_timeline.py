"""Who did what when, from results made by hand."""

import pytest
from handmade import study, trial

from search.evaluation import Phase
from search.report.charts.timeline import timeline_chart, timeline_of
from search.report.results import DevicePhase

ANN = trial(
    0,
    worker="ann:1",
    phases=(DevicePhase(Phase.TRAIN, 100, 30), DevicePhase(Phase.MEASURE, 130, 10, "ssh://pi")),
)
BOB = trial(
    1,
    worker="bob:2",
    phases=(DevicePhase(Phase.WAITING, 110, 30), DevicePhase(Phase.MEASURE, 140, 60, "ssh://pi")),
)


def test_a_row_has_its_phases_in_the_order_of_time_and_its_busy_share() -> None:
    timeline = timeline_of(study(trials=(BOB, ANN)))
    assert [(row.name, round(row.busy_share, 9)) for row in timeline.rows] == [
        ("worker ann:1", 0.4),
        ("worker bob:2", 0.6),
        ("device ssh://pi", 0.7),
    ]
    assert [(each.trial, each.phase.start_s) for each in timeline.rows[2].stretches] == [(0, 130), (1, 140)]
    assert (timeline.shown_trials, timeline.all_trials) == (2, 2)
    unnamed = timeline_of(study(trials=(trial(0, phases=ANN.phases[:1]),)))
    assert [row.name for row in unnamed.rows] == ["worker"]


def test_the_timeline_has_a_row_for_each_worker_and_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timeline_chart(study()) == "No times have been recorded yet."
    drawn = timeline_chart(study(trials=(ANN, BOB)))
    rows = [note.text for note in drawn.layout.annotations]
    assert rows == ["worker ann:1: busy 40 %", "worker bob:2: busy 60 %", "device ssh://pi: busy 70 %"]
    bars = {trace.name: [y for y in trace.y if y == y] for trace in drawn.data}  # without the gaps, which are NaN
    assert bars == {
        "training": [0] * 3, "conversion": [], "device": [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2],
        "waiting for a device": [1] * 3,
    }  # fmt: skip
    monkeypatch.setattr("search.report.charts.timeline.MAX_PHASES", 1)
    assert "the last 1 of 2 trials" in timeline_chart(study(trials=(ANN, BOB))).layout.xaxis.title.text
