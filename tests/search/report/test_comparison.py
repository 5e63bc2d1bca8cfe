"""The best candidate beside the base, from results made by hand."""

from dataclasses import replace

import pytest
from handmade import figures, study

from search.objective import Objective
from search.report import base_comparison as comparison

AT = "than the unpruned base at 71.02 % test accuracy"


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


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, f"74.4 x faster {AT}."),
        ({"compared": False}, f"74.4 x faster {AT} (measured in separate runs)."),
        ({"objective": Objective.ENERGY}, f"73.0 x less energy per image (estimated) {AT}."),
        (
            {"base": None},
            "latency, median [ms]: 0.0121, not compared with the unpruned base, at 71.02 % test accuracy.",
        ),
        (
            {"best": figures(accuracy_percent=69.99, accuracy_of="test", latency_ms=0.45)},
            "2.00 x faster than the unpruned base at 69.99 % test accuracy, below the accuracy constraint of 70.0 %.",
        ),
        ({"best": None}, "No candidate meets the accuracy constraint yet; 2 of 5 trials are complete."),
    ],
)
def test_verdict(changes: dict[str, object], sentence: str) -> None:
    assert comparison.verdict(study(**changes)) == sentence
