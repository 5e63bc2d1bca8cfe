"""Tables on slides as people write them: read as they were meant."""

import pytest

from edge.diagnostics import OK, WRONG
from search.submission.check.slide_claims import Claim, check_fom, check_table, number, read_claims
from search.submission.slides.slide_reader import Cells, SlideText

HEADS = (
    "Test accuracy [%]", "Maximum memory usage [MB]", "Average latency for one image [ms]",
    "Maximum power consumption [W]", "Average energy consumption for one image [mJ]", "Framework used", "FoM",
)  # fmt: skip
LINE = ("72.00", "45.2", "1.25", "4.9", "5.3", "TFLite", "10.868")
RIGHT = Claim(72.0, 1.25, 5.3, 10.868, bold=False)


def slides(*grids: Cells) -> list[SlideText]:
    return [SlideText((), grids, tuple(tuple((False,) * len(line) for line in grid) for grid in grids))]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72.00", 72.0), ("71.66 %", 71.66), ("1,234.5", 1234.5), ("1.234,5", 1234.5), ("72,5", 72.5),
        ("108,680", 108_680.0), ("1.25e-3", 0.00125), ("1.0868E5", 108_680.0), ("4.3 x 10^4", 43_000.0),
        ("4.3 × 10−4", 0.00043), ("≈ 5.3 mJ", 5.3), ("12'345", 12_345.0), ("1 234", 1.0), ("–", None), ("n/a", None),
    ],
)  # fmt: skip
def test_a_number_is_read_as_it_is_written(text: str, value: float | None) -> None:
    assert number(text) == (value if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    "grid",
    [
        (HEADS, LINE),
        (("Model", *HEADS), ("ours", *LINE)),
        tuple(zip(HEADS, LINE, strict=True)),
        (HEADS, ("72,00", "45,2", "1,250", "4,9", "5,3", "TFLite", "10,868")),
        (HEADS, ("0.72", *LINE[1:])),
        (("Test acc. / accuracy", *HEADS[1:]), LINE),
        ((*HEADS[:2], "Average latency [us]", *HEADS[3:]), (*LINE[:2], "1250", *LINE[3:])),
        ((*HEADS[:4], "Energy [J]", *HEADS[5:]), (*LINE[:4], "0.0053", *LINE[5:])),
        (HEADS, (*LINE[:2], "1250 µs", *LINE[3:])),
    ],
    ids=["plain", "labelled", "lying", "commas", "fraction", "other head", "microseconds", "joules", "unit in cell"],
)
def test_a_line_of_table_3_is_read_however_it_stands(grid: Cells) -> None:
    (claim,) = read_claims(slides((("Accuracy of the base",), ("86",)), grid))
    assert (claim.accuracy_percent, claim.latency_ms, claim.energy_mj, claim.fom) == pytest.approx(
        (RIGHT.accuracy_percent, RIGHT.latency_ms, RIGHT.energy_mj, RIGHT.fom)
    )


def test_every_line_is_read_and_what_is_no_line_passed_over() -> None:
    found = read_claims(slides((HEADS, ("86", "60", "10", "5", "50", "TFLite", "0.172"), LINE, ("",) * 7), ()))
    assert [claim.accuracy_percent for claim in found] == [86.0, 72.0]


@pytest.mark.parametrize(
    ("given", "verdict"), [(10.868, OK), (0.10868, OK), (108_680.0, OK), (11.4, WRONG), (108.68, WRONG)]
)
def test_a_figure_of_merit_is_that_of_its_line_in_one_of_three_units(given: float, verdict: str) -> None:
    assert check_fom(Claim(72.0, 1.25, 5.3, given, bold=True)).verdict == verdict


def test_tables_1_and_2_need_their_columns_and_enough_lines() -> None:
    heads = ("Pruning parameters", *HEADS[1:5])
    lines = tuple((f"{fraction}, {epochs}", "50", "2", "5", "10") for fraction in range(5) for epochs in range(3))
    halves = slides((heads, *lines[:8]), (heads, *lines[8:]))

    def told(given: list[SlideText], milestone: int) -> str:
        return "; ".join(each.found for each in check_table(given, milestone))

    assert told(halves, 1).startswith("15 settings on the slides, without raw figures")
    assert told(halves, 2) == "15 lines with all four figures, the rules ask for 16 settings"
    assert told(slides((heads, *lines[:2], (*lines[2][:4], "n/a"))), 1).startswith("2 lines with all four figures")
    assert told(slides((tuple("abcdef"), tuple("123456"))), 1).startswith("no table with columns for memory, latency")
