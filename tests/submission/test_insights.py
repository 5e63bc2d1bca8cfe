"""What Tables 1 and 2 say: right on figures made by hand, and silent where a partial grid cannot tell."""

import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from table_rows import BASE, TABLE1, TABLE2

from search.submission.tables.insights import Insights, table1_insights, table2_insights
from search.submission.tables.rows import Row


def texts(findings: Insights) -> dict[str, str]:
    return {finding.topic: finding.text for finding in (*findings.results, *findings.conclusion)}


def metered(row: Row, energy_mj: float) -> Row:
    return replace(row, estimated=False, energy_mj=energy_mj)


def test_table_1_tells_where_accuracy_breaks_down_and_what_fine_tuning_brings() -> None:
    said = texts(table1_insights(TABLE1))
    assert "the steepest fall, 57.34 points, lies between fractions 0.05 and 0.25" in said["Without fine-tuning"]
    assert "5 epochs bring +74.59 points at fraction 0.5" in said["Fine-tuning"]
    assert "From 3 to 5 epochs the median gain is +2.36, the largest +6.31 points (fraction 0.9)" in said["Fine-tuning"]


def test_table_1_weighs_size_against_accuracy() -> None:
    said = texts(table1_insights(TABLE1))["Size and accuracy"]
    assert said.startswith("the smallest that keeps 70 % is fraction 0.75 after 5 epochs, 74.52 %, 0.126 ms, 861 kB")
    assert said.endswith("against the unpruned base 15.0 x smaller, 10.1 x faster, -16.28 points.")
    poor = [row for row in TABLE1 if row.test_accuracy_percent < 70]
    assert (
        "no pruned setting keeps 70 %; the most accurate is fraction 0.9 after 5"
        in texts(table1_insights(poor))["Size and accuracy"]
    )


def test_latency_is_set_against_the_arithmetic() -> None:
    assert "MACs fall 77.2 x, latency 28.7 x: a MAC takes 2.69 x" in texts(table1_insights(TABLE1))["Latency and MACs"]
    half = replace(BASE, fraction=0.5, macs=BASE.macs // 2, latency_ms=BASE.latency_ms / 2)
    assert texts(table1_insights([BASE, half]))["Latency and MACs"].endswith("in proportion.")


def test_an_assumed_power_tells_nothing_new_and_a_measured_one_does() -> None:
    assert "by construction" in texts(table1_insights(TABLE1))["Power and performance"]
    slow, fast = metered(TABLE1[0], 6.0), metered(TABLE1[-1], 1.0)
    said = texts(table1_insights([slow, fast]))["Power and performance"]
    assert "energy per image 6.00 x: less than latency" in said and "by construction" not in said
    assert "Power and performance" not in texts(table1_insights([slow, TABLE1[-1]])), "measured beside estimated"


def test_table_2_is_compared_with_the_float_rows_of_the_same_settings() -> None:
    said = texts(table2_insights(TABLE2, TABLE1))
    assert "3.85 x smaller in the median of 16 settings (2.24 to 3.96 x)" in said["Size"]
    assert said["Latency"].endswith("longer in 3 of 16 settings.")
    assert "-0.11 points in the median" in said["Accuracy"]
    assert said["Accurate enough"].startswith("10 of 16 settings keep 70 %")
    assert said["Recommendation"].startswith("dynamic at fraction 0.75 after 5 epochs")
    alone = texts(table2_insights(TABLE2, ()))
    assert not {"Size", "Latency", "Accuracy"} & set(alone), "nothing to compare with"


rows = st.lists(st.sampled_from(TABLE1), unique=True)
energies = st.sampled_from([lambda row: row, lambda row: replace(row, energy_mj=None, max_power_w=None)])


@settings(max_examples=100, deadline=None)
@given(rows, st.lists(st.sampled_from(TABLE2), unique=True), energies)
def test_any_part_of_the_grid_gives_sentences_with_figures(one: list[Row], two: list[Row], energy) -> None:  # type: ignore[no-untyped-def]
    one, two = list(map(energy, one)), list(map(energy, two))
    for table, found in ((one, table1_insights(one)), (two, table2_insights(two, one))):
        assert bool(found.conclusion) == bool(table), "whoever measured something is told something"
        for finding in (*found.results, *found.conclusion):
            assert re.search(r"\d", finding.text) and finding.text.endswith(".")
            assert not re.search(r"\b(nan|inf|None)\b|–|\.\.", finding.text)
