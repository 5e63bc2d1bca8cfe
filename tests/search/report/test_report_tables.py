"""The tables and sentences of a study, from results made by hand."""

from handmade import EMPTY, study, trial
from report_pages import cells, printed

from search.evaluation import EndReason, Phase
from search.objective import Objective
from search.report import sentences, tables

COUNTED = {"decision_images": 3_000, "test_images": 10_000}
HELD = {"search_percent": 71.5, "decision_percent": 71.2, "value": 0.0123}


def test_estimated_is_marked_in_the_tables() -> None:
    assert "energy per image [mJ], estimated" in sentences.objective_title(study(objective=Objective.ENERGY))
    rows = cells(tables.trials_table(study(objective=Objective.ENERGY)))
    assert rows[0][4] == "0.0123 (estimated)"


def test_status_table_counts_and_ends_with_the_last() -> None:
    table = tables.trials_table(study(), last=2)
    assert [row[0] for row in cells(table)] == ["3", "4"]
    assert str(table.caption) == (
        "5 trials: 2 complete (1 feasible), 1 pruned, 1 failed, 1 running; "
        "best so far: trial 0, latency [ms]: 0.0123\n"
        "accuracy constraint: at least 70.0 % test accuracy. "
        "A candidate needs 71.0 % on the validation images, a margin of 1.00 points.\n"
        "pruned: 1 after the architecture"
    )
    text = printed(table)
    assert "[ms]" in text and "[bold]ms[/bold]" in text, "brackets are text, not markup"


def test_the_constraint_says_how_surely_the_best_meets_it() -> None:
    line = sentences.constraint_text(study(**COUNTED, trials=(trial(0, **HELD),)))
    assert "a margin of 1.00 points. Trial 0 reaches 71.20 % there: " in line, "of the images that decide"
    # (71.2 - 70) / 0.95394 = 1.2580 sigma
    assert "its test accuracy is at least 70.0 % with at least 89.6 % probability" in line
    assert "(binomial counts of 3,000 and 10,000 images; the only network as good that was tried against" in line


def test_the_best_of_many_meets_it_less_surely() -> None:
    """Networks as good as the best that were tried against the constraint count; each is one more chance of luck."""
    others = (
        trial(1, **{**HELD, "value": 0.0120}),
        trial(2, **{**HELD, "value": 0.0119}, refined_from=1),  # another quantization of the same network
        trial(3, **{**HELD, "value": 0.0110, "decision_percent": 60.0}),
        trial(4, **{**HELD, "value": 0.0110, "search_percent": 69.9}),  # not tried against it
        trial(5, **{**HELD, "value": 0.0200}),  # could not have been the best
    )
    line = sentences.constraint_text(study(**COUNTED, trials=(trial(0, **HELD), *others)))
    assert "at least 68.7 % probability" in line  # 1 - 3 x 0.1042
    assert "one of 3 networks as good that were tried against the constraint)" in line


def test_the_constraint_never_promises_certainty() -> None:
    sure = trial(0, **{**HELD, "decision_percent": 90.0})
    line = sentences.constraint_text(study(**COUNTED, trials=(sure,)))
    assert "with more than 99.9 % probability" in line


def test_the_constraint_of_a_study_without_counts_has_no_probability() -> None:
    for results in (
        study(),
        study(decision_images=5_000),
        study(best_trial=None, decision_images=9, test_images=9),
    ):
        assert sentences.constraint_text(results).endswith("a margin of 1.00 points.")


def test_the_constraint_says_what_counts_as_equal() -> None:
    assert "count as equal" not in sentences.constraint_text(study())
    assert sentences.constraint_text(study(tie_tolerance=0.02)).endswith(
        " Candidates within 2.0 % of the best value count as equal; the most accurate of them is the best."
    )


def test_what_early_stopping_saved() -> None:
    seconds = {Phase.ARCHITECTURE: 4.0, Phase.TRAIN: 90.0, Phase.MEASURE: 2.0}
    stopped = {Phase.ARCHITECTURE: 4.0, Phase.TRAIN: 30.0}
    pruned = [
        trial(1, "PRUNED", end_reason=EndReason.MAC_BOUND),
        trial(2, "PRUNED", end_reason=EndReason.MAC_BOUND),
        trial(3, "PRUNED", end_reason=EndReason.OUT_OF_REACH, seconds=stopped),
    ]
    results = study(trials=(trial(0, seconds=seconds), *pruned))
    assert tables.saving_rows(results) == [
        ("MAC bound", "2", "0", "12.0", "180"),
        ("architecture", "0", "8.00", "0", "0"),
        ("train and convert", "1", "120", "2.00", "60.0"),
        ("measure", "0", "2.00", "0", "0"),
    ]
    line = (
        "pruned: 2 before any measurement, 1 in training; saved about 14 s of device time and 4 min of training"
    )
    assert sentences.savings_text(results) == line
    assert str(tables.trials_table(results).caption).endswith(line)
    assert "–" in tables.saving_rows(study())[1], "no complete trial tells what the rest would have cost"
    assert (sentences.savings_text(EMPTY), tables.saving_rows(EMPTY)) == ("", [])


def test_layers_say_what_was_dropped() -> None:
    rows = cells(tables.layers_table(study()))
    assert len(rows) == 14
    assert rows[0] == ("stem", "32 → 16", "50 %", "1 → 2")
    assert rows[8] == ("block 7", "512 → dropped", "100 %", "1 → –")
