"""The notes of a study and its trials in words."""

from dataclasses import replace

from handmade import SPEC, figures, study, trial

from search.dashboard.notes import study_note, trial_note
from search.objective import Objective
from search.strategy.warm_start import weights_only


def test_a_note_says_what_the_candidate_is_and_how_it_measured() -> None:
    note = trial_note(study(), study().trials[0], {})
    assert "**Complete, meets the accuracy constraint**: 71.20 % of the validation images are right, " in note
    assert " are right, 71.00 % are required; " in note
    assert "11 of 13 blocks (without 7 8), int8 with uint8 in- and outputs, 1 thread: " in note
    assert "12 epochs, starting from the weights of the base." in note
    assert "| block 6 | 512 → 256 | 50 % | 1 → 1 |" in note and "block 7" not in note
    assert "| latency, median [ms] | 0.0123 |" in note
    assert "| energy per image [mJ] | 0.0592 (estimated) |" in note
    assert "Time: train 90.0 s, measure 2.00 s." in note


def test_a_note_says_why_a_trial_is_infeasible_pruned_or_failed() -> None:
    infeasible, pruned, failed = (trial_note(study(), study().trials[number], {}) for number in (1, 2, 3))
    assert infeasible.startswith("**Infeasible**: 66.60 % of the validation images are right, 71.00 % are required")
    assert pruned.startswith("**Pruned**: slower than the best: 0.5 ms \\> 0.0123 ms\n")
    assert "12 epochs planned" in pruned
    assert failed.startswith("**Failed**: \\</script\\>\\<script\\>alert('ä')\\</script\\> \\& \\[bold\\]ms")


def test_a_note_tells_whose_weights_they_are() -> None:
    child = replace(SPEC, parent=weights_only(SPEC))
    refined = trial(9, spec=child, refined_from=4, curve=(70.0,), figures=figures())
    assert "Final training of trial 4. 12 epochs, starting from the weights of trial 4." in trial_note(
        study(), refined, {weights_only(SPEC): 4, weights_only(child): 9}
    )
    converted = trial(10, spec=child, figures=figures())
    assert "The weights are those of trial 9, quantized in another way." in trial_note(
        study(), converted, {weights_only(child): 9}
    )
    assert "starting from the weights of another study's candidate." in trial_note(study(), refined, {})


def test_the_study_s_note_gives_the_best_and_how_to_read_the_pages() -> None:
    note = study_note(study(objective=Objective.ENERGY))
    assert note.startswith("**73.0 x less energy per image (estimated) than the unpruned base at 71.02 % test accura")
    assert "| energy per image [mJ], est. | 0.0592 | 4.32 | 73.0 x less |" in note
    assert "est.: from an assumed power, not measured." in note
    assert "- **Objective**: lowest energy per image \\[mJ\\], estimated" in note
    assert "- **Device, meter**: local, estimate://4.8W" in note
    assert "How to read" in note
    assert study_note(study(best=None)).startswith("**No candidate meets the accuracy constraint yet.**")
