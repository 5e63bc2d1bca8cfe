"""The charts of a study, from results made by hand: first their data, then what plotly draws."""

import pytest
from handmade import EMPTY, figures, study, trial
from optuna.trial import TrialState

from search.evaluation import Phase
from search.objective import Objective
from search.report.charts.accuracy import accuracy_chart, accuracy_of
from search.report.charts.bars import seconds_chart, time_bars
from search.report.charts.catalog import CHARTS, Chart
from search.report.charts.history import history_chart, history_of
from search.report.charts.learning_curves import curves_chart, learning_curves_of
from search.report.results import DevicePhase
from search.report.tables import best_layers


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_an_empty_study_has_a_sentence_in_place_of_each_chart(chart: Chart) -> None:
    assert isinstance(chart.draw(EMPTY), str)


def test_the_history_follows_the_best_feasible_value() -> None:
    values = ((5.0, True), (2.0, False), (4.0, True), (6.0, True))
    trials = [trial(n, value=value, feasible=feasible) for n, (value, feasible) in enumerate(values)]
    results = study(trials=(*trials, trial(4, "PRUNED"), trial(5, "FAIL"), trial(6, "RUNNING")))
    history = history_of(results)
    assert [(point.x, point.y) for point in history.complete] == [(0, 5.0), (1, 2.0), (2, 4.0), (3, 6.0)]
    assert [point.trial.number for point in history.unfinished[TrialState.PRUNED]] == [4]
    assert [point.trial.number for point in history.unfinished[TrialState.FAIL]] == [5]
    assert history.best_so_far == [(0, 5.0), (2, 4.0), (3, 4.0), (6, 4.0)]
    highest = history_of(study(objective=Objective.FOM, trials=trials))
    assert highest.best_so_far == [(0, 5.0), (2, 5.0), (3, 6.0), (3, 6.0)]
    names = [trace.name for trace in history_chart(results).data]
    assert names == ["best so far", "feasible", "infeasible", "pruned", "failed"]


def test_the_front_has_what_nothing_else_beats_in_both() -> None:
    places = ((0.03, 60.0), (0.02, 58.0), (0.03, 65.0), (0.05, 64.0), (0.06, 65.0), (0.07, 72.0))
    measured = [trial(n, figures=figures(latency_ms=ms, accuracy_percent=p)) for n, (ms, p) in enumerate(places)]
    unmeasured = [trial(6, "PRUNED", figures=figures(latency_ms=0.01)), trial(7, "FAIL")]
    results = study(trials=(*measured, *unmeasured))
    assert [each.number for each, _ in results.front] == [1, 2, 5]
    data = accuracy_of(results)
    assert [point.trial.number for point in data.trials] == [0, 1, 2, 3, 4, 5]
    assert data.front == [(0.02, 58.0), (0.03, 65.0), (0.07, 72.0)]
    assert [style.name for style, _ in data.models] == ["unpruned base", "best candidate"]
    assert data.accuracy_of == ["validation"]
    drawn = accuracy_chart(results)
    front = next(trace for trace in drawn.data if trace.name == "front")
    assert (front.x, front.y) == ((0.02, 0.03, 0.07, 0.07), (58.0, 65.0, 72.0, 72.0))


def test_published_entries_are_of_cifar10_and_of_another_device() -> None:
    digits, cifar10 = ([t.name for t in accuracy_chart(study(data=data)).data] for data in ("digits", "cifar10"))
    published = ["published, on a Raspberry Pi 3B+ (other device)", "published, on an Odroid MC1 (other device)"]
    assert cifar10 == [*published, *digits]


def test_the_last_curves_and_the_best_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.report.charts.learning_curves.MAX_CURVES", 3)
    trained = [trial(n, curve=(50.0, 60.0 + n)) for n in range(4)]
    results = study(best_trial=0, trials=(*trained, trial(4, "PRUNED", curve=(30.0,)), trial(5, "PRUNED")))
    curves = learning_curves_of(results)
    assert [[each.number for each in group] for group in curves[:3]] == [[4], [2, 3], [0]]
    assert curves.trained == 5
    drawn = curves_chart(results)
    complete = drawn.data[1]
    assert (complete.x, complete.y) == ((1, 2, None, 1, 2, None), (50.0, 62.0, None, 50.0, 63.0, None))
    assert drawn.layout.xaxis.title.text == "epoch (the best, and the last 3 of 5 trials)"


def test_where_the_time_went() -> None:
    phases = (
        DevicePhase(Phase.ARCHITECTURE, 0, 60),
        DevicePhase(Phase.MEASURE_ARCHITECTURE, 60, 60),
        DevicePhase(Phase.WAITING, 120, 120),
    )
    rejected = trial(0, phases=phases, seconds={each.phase: each.seconds for each in phases})
    trained = trial(1, seconds={Phase.TRAIN: 300.0, Phase.CONVERT: 60.0})
    results = study(trials=(rejected, trained))
    assert {bar.name: bar.length for bar in time_bars(results)} == {
        "conversion": 2, "device": 1, "waiting for a device": 2, "training": 5,
    }  # fmt: skip
    assert time_bars(results)[-1].text == "5.00 (50 %)"
    drawn = seconds_chart(results).data[0]
    assert (drawn.y[-1], drawn.x[-1], drawn.text[-1]) == ("training", 5, "5.00 (50 %)")


def test_dropped_blocks_have_no_channels() -> None:
    (chart,) = [chart for chart in CHARTS if chart.name == "layers_chart"]
    drawn = chart.draw(study())
    assert not isinstance(drawn, str)
    base, best = drawn.data
    assert (base.x[8], base.y[8], best.y[8], best.text[8]) == ("block 7", 512, 0, "dropped")
    assert len(best.y) == len(best_layers(study()))
