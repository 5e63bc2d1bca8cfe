"""Describe a study and its trials in optuna-dashboard's notes: Markdown in the storage."""

import re
from collections.abc import Mapping

import optuna
from optuna.trial import TrialState

from compress.architecture import Architecture
from compress.spec import CompressionSpec
from edge.measuring.measurement import Measurement
from search.report import base_comparison as comparison
from search.report import sentences, tables
from search.report.formatting import (
    mark_estimated,
    markdown_table,
    percent,
    pluralize,
    significant,
)
from search.report.results import Figures, StudyResults, TrialResult, first_trained
from search.strategy.warm_start import weights_only

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
PERSONAL_NOTES_BELOW = "*Your own notes: below this line. The text above it is replaced.*"
HOW_TO_READ = """\
- **Infeasible** (grey in the plots): the trial is complete but misses the accuracy constraint. The
  search learns from it all the same, from the accuracy that is predicted after longer training.
- **Pruned**: stopped early, because it could not win or could not meet the constraint. **Fail**: it
  could not be built or measured. The trial's note says why.
- **Best trial**: the best of those that meet the constraint. If several tie, it is the most
  accurate.
- **Artifacts** of a trial: `model.tflite`, the measured bytes, and `windows.json`, every measuring
  window.
- The charts below the timeline, on the first page, are those of the report."""


def trial_note(
    results: StudyResults, trial: TrialResult, trained: Mapping[CompressionSpec, int]
) -> str:
    """Return candidate, figures and outcome of a trial; `trained` as from `first_trained`."""
    parts = [_outcome(results, trial)]
    if trial.spec is not None and trial.architecture is not None:
        parts.append("#### Candidate")
        parts.append(_candidate(trial, trial.spec, trial.architecture))
        parts.append(_origin(trial, trial.spec, trained))
        parts.append(_layers_table(results, trial))
    if trial.figures is not None:
        parts.append(f"#### Measured, protocol {trial.figures.plan}")
        rows = comparison.figure_rows(trial.figures)
        parts.append(markdown_table(("figure", "value"), rows))
    elif trial.measurement is not None:
        parts.append("#### Measured")
        parts.append(_untrained(trial.measurement))
    if trial.seconds:
        seconds = ", ".join(
            f"{phase} {significant(took)} s" for phase, took in trial.seconds.items()
        )
        parts.append(f"Time: {seconds}.")
    return "\n\n".join(parts)


def study_note(results: StudyResults) -> str:
    """Return the best so far beside the base, the facts of the study, and how to read the pages."""
    verdict = "No candidate meets the accuracy constraint yet."
    if results.best is not None:
        verdict = comparison.verdict(results)
    parts = [f"**{_escape(verdict)}**"]
    if results.best is not None or results.base is not None:
        rows = comparison.comparison_rows(results)
        parts.append(markdown_table(comparison.comparison_columns(results), rows))
        parts += comparison.footnotes(rows)
    facts = {
        "Objective": sentences.objective_text(results),
        "Accuracy constraint": sentences.constraint_text(results),
        "Data": f"{results.data}, {results.data_source}",
        "Device, meter": f"{results.device}, {results.meter}",
    }
    parts.append("\n".join(f"- **{name}**: {_escape(fact)}" for name, fact in facts.items()))
    return "\n\n".join([*parts, "#### How to read these pages", HOW_TO_READ])


def write_notes(study: optuna.Study, results: StudyResults) -> None:
    """Write the note of each ended trial that has none, and the study's note if it has changed.

    A trial's note is written once, so what a person makes of it stays. In the study's note, a
    person's own text stays below PERSONAL_NOTES_BELOW.
    """
    from search.adapters.optuna_dashboard import (  # it loads the dashboard's server
        read_study_note,
        trials_without_note,
        write_study_note,
        write_trial_notes,
    )

    missing = trials_without_note(study)
    trained = first_trained(results.trials)
    notes = {}
    for trial in results.trials:
        if trial.state in ENDED and trial.number in missing:
            notes[trial.number] = trial_note(results, trial, trained)
    write_trial_notes(study, notes)
    before = read_study_note(study)
    personal = _personal_part(before)
    body = f"{study_note(results)}\n\n---\n\n{PERSONAL_NOTES_BELOW}{personal}"
    if body != before:
        write_study_note(study, body)


def _personal_part(note: str) -> str:
    """Return what a person has written: all of the note, if thrones has not written any of it."""
    if PERSONAL_NOTES_BELOW in note:
        return note.partition(PERSONAL_NOTES_BELOW)[2]
    if note:
        return f"\n\n{note}"
    return ""


def _outcome(results: StudyResults, trial: TrialResult) -> str:
    if trial.is_complete and trial.figures is not None:
        return _complete_outcome(results, trial, trial.figures)
    state = sentences.STATES[trial.state].capitalize()
    return f"**{state}**: {_escape(trial.reason) or 'no reason was stored'}"


def _complete_outcome(results: StudyResults, trial: TrialResult, figures: Figures) -> str:
    images = f"{figures.accuracy_of} images"
    accuracy_percent = figures.accuracy_percent
    if trial.decision_percent is not None:
        images = "validation images that decide"
        accuracy_percent = trial.decision_percent
    verdict = "Infeasible"
    if trial.feasible:
        verdict = "Complete, meets the accuracy constraint"
    value = f"{results.objective.label} {tables.value_text(results, trial)}"
    return (
        f"**{verdict}**: {percent(accuracy_percent)} % of the {images} are right, "
        f"{percent(results.required_percent)} % are required; {value}."
    )


def _candidate(trial: TrialResult, spec: CompressionSpec, architecture: Architecture) -> str:
    blocks = f"{len(architecture.blocks)} of 13 blocks"
    if spec.dropped_blocks:
        blocks += f" (without {' '.join(map(str, spec.dropped_blocks))})"
    quantization = str(spec.quantization)
    if len(spec.quantization.io_dtypes) > 1:
        quantization += f" with {spec.io_dtype} in- and outputs"
    size = f"{architecture.macs:,} MACs, {architecture.parameters:,} parameters"
    if trial.figures is not None:
        size += f", {trial.figures.model_bytes:,} bytes"
    return f"{blocks}, {quantization}, {pluralize(spec.threads, 'thread')}: {size}."


def _origin(
    trial: TrialResult, spec: CompressionSpec, trained: Mapping[CompressionSpec, int]
) -> str:
    """Return from which weights the candidate was trained, or would have been."""
    same_network = trained.get(weights_only(spec), trial.number)
    if same_network != trial.number:
        return f"The weights are those of trial {same_network}, quantized in another way."
    epochs = pluralize(spec.epochs, "epoch")
    if not trial.curve:
        epochs += " planned"
    training = f"{epochs}, starting from the weights of {_parent(spec, trained)}."
    if trial.refined_from is None:
        return training
    return f"Final training of trial {trial.refined_from}. {training}"


def _parent(spec: CompressionSpec, trained: Mapping[CompressionSpec, int]) -> str:
    if spec.parent is None:
        return "the base"
    number = trained.get(weights_only(spec.parent))
    if number is None:
        return "another study's candidate"
    return f"trial {number}"


def _layers_table(results: StudyResults, trial: TrialResult) -> str:
    rows = []
    for layer in tables.layers_of(trial, results.base_architecture):
        if layer.after is not None:
            rows.append(tables.layer_cells(layer))
    return markdown_table(tables.LAYER_COLUMNS, rows)


def _untrained(measurement: Measurement) -> str:
    figures = f"{significant(measurement.latency_ms)} ms"
    if measurement.energy_mj is not None:
        energy = f"{significant(measurement.energy_mj)} mJ"
        figures += f", {mark_estimated(energy, measurement.estimated)}"
    return f"The untrained architecture: {figures}."


def _escape(text: str) -> str:
    """Return Markdown that shows this very text, on one line."""
    return re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", " ".join(text.split()))
