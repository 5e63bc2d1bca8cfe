"""A study and its trials in words, as the notes of optuna-dashboard: Markdown, kept in the study's storage."""

import re
from collections.abc import Mapping

import optuna

from compress.architecture import Architecture
from compress.spec import CompressionSpec
from edge.measuring.measurement import Measurement
from search.report import comparison, tables
from search.report.formatting import markdown_table, marked, percent, pluralize, significant
from search.report.pages.trial_page import first_trained
from search.report.results import StudyResults, TrialResult
from search.strategy.warm_start import weights_only

ENDED = ("COMPLETE", "PRUNED", "FAIL")
OWN = "*Notes of your own: below this line. What stands above it is written anew.*"
HOW_TO_READ = """\
- **Infeasible** (grey in the plots): a trial that was trained to its end and misses the rule. It may have helped all
  the same: the search learns from what longer training is predicted to add.
- **Pruned**: given up early, because it could not win or could not reach the rule. **Fail**: it could not be built or
  measured. The trial's note says why.
- **Best trial**: of those that keep the rule, the best; where several tie, the most accurate.
- **Artifacts** of a trial: `model.tflite`, the measured bytes, and `windows.json`, every window as it was measured.
- The charts below the timeline, on the first page, are those of the report."""


def trial_note(results: StudyResults, trial: TrialResult, trained: Mapping[CompressionSpec, int]) -> str:
    """What the candidate is, how it measured and why it ended so; `trained` as `first_trained` gives it."""
    parts = [_outcome(results, trial)]
    if trial.spec is not None and trial.architecture is not None:
        layers = [layer for layer in tables.layers_of(trial, results.base_architecture) if layer.after is not None]
        parts += ["#### Candidate", _candidate(trial, trial.spec, trial.architecture)]
        parts.append(_origin(trial, trial.spec, trained))
        parts.append(markdown_table(tables.LAYER_COLUMNS, map(tables.layer_cells, layers)))
    figures = trial.figures
    if figures is not None:
        shown = [(metric, metric.get(figures)) for metric in comparison.METRICS]
        rows = [
            (metric.label, marked(metric.show(value), metric.power and figures.estimated))
            for metric, value in shown
            if value is not None
        ]
        parts += [f"#### Measured, plan {figures.plan}", markdown_table(("figure", "value"), rows)]
    elif trial.measurement_json:
        untrained = Measurement.from_json(trial.measurement_json)
        measured = f"{significant(untrained.latency_ms)} ms"
        if untrained.energy_mj is not None:
            measured += marked(f", {significant(untrained.energy_mj)} mJ", untrained.estimated)
        parts += ["#### Measured", f"The untrained structure: {measured}."]
    if trial.seconds:
        seconds = ", ".join(f"{phase} {significant(took)} s" for phase, took in trial.seconds.items())
        parts += [f"Time: {seconds}."]
    return "\n\n".join(parts)


def study_note(results: StudyResults) -> str:
    """Road, rule, data, device, the best so far beside the base, and how to read the pages."""
    rows = comparison.comparison_rows(results)
    facts = (
        ("Road", f"{'highest' if results.road == 'fom' else 'lowest'} {tables.objective_title(results)}"),
        ("Rule", tables.rule(results)),
        ("Data", f"{results.data}, {results.data_source}"),
        ("Device, meter", f"{results.device}, {results.meter}"),
    )
    parts = [f"**{_text(comparison.verdict(results))}**" if results.best else "**No candidate has met the rule yet.**"]
    if results.best or results.base:
        parts += [markdown_table(comparison.comparison_columns(results), rows), *comparison.footnote(rows)]
    parts += ["\n".join(f"- **{name}**: {_text(fact)}" for name, fact in facts)]
    return "\n\n".join([*parts, "#### How to read these pages", HOW_TO_READ])


def write_notes(study: optuna.Study, results: StudyResults) -> None:
    """Write the note of each ended trial that has none, and the study's where it says something new.

    A trial's note is written once, so what a person makes of it stays; of the study's, what stands below OWN, or all
    where that line is not there.
    """
    from optuna_dashboard import get_note, save_note
    from optuna_dashboard._note import note_ver_key, split_body

    storage, study_id = study._storage, study._study_id
    written = storage.get_study_system_attrs(study_id)
    ids = {trial.number: trial._trial_id for trial in study.get_trials(deepcopy=False)}
    trained = first_trained(results)
    for trial in results.trials:
        trial_id = ids[trial.number]
        if trial.state in ENDED and note_ver_key(trial_id) not in written:
            # Not by the library's own function: it reads all notes again for each, minutes for thousands of trials.
            for key, part in split_body(trial_note(results, trial, trained), trial_id).items():
                storage.set_study_system_attr(study_id, key, part)
            storage.set_study_system_attr(study_id, note_ver_key(trial_id), 1)  # last: it makes the note one
    before = get_note(study)
    own = before.partition(OWN)[2] if OWN in before else f"\n\n{before}" if before else ""
    body = f"{study_note(results)}\n\n---\n\n{OWN}{own}"
    if body != before:
        save_note(study, body)


def _outcome(results: StudyResults, trial: TrialResult) -> str:
    state = tables.STATES[trial.state].capitalize()
    if trial.figures is None or trial.state != "COMPLETE":
        return f"**{state}**: {_text(trial.reason) or 'no reason was stored'}"
    figures, value = trial.figures, tables.trial_cells(results, trial)[4]
    if trial.decision_percent is None:
        accuracy = f"{percent(figures.accuracy_percent)} % of the {figures.accuracy_of} images are right"
    else:
        accuracy = f"{percent(trial.decision_percent)} % of the validation images that decide are right"
    required = f"{percent(results.required_percent)} % are required"
    kept = "Complete, keeps the rule" if trial.feasible else "Infeasible"
    return f"**{kept}**: {accuracy}, {required}; {comparison.ROADS[results.road]} {value}."


def _candidate(trial: TrialResult, spec: CompressionSpec, found: Architecture) -> str:
    gone = f" (without {' '.join(map(str, spec.dropped_blocks))})" if spec.dropped_blocks else ""
    ends = f" with {spec.io_dtype} in- and outputs" if len(spec.quantization.io_dtypes) > 1 else ""
    size = f", {trial.figures.model_bytes:,} bytes" if trial.figures else ""
    return (
        f"{len(found.blocks)} of 13 blocks{gone}, {spec.quantization}{ends}, {pluralize(spec.threads, 'thread')}: "
        f"{found.macs:,} MACs, {found.parameters:,} parameters{size}."
    )


def _origin(trial: TrialResult, spec: CompressionSpec, trained: Mapping[CompressionSpec, int]) -> str:
    """Whose weights it has, or would have been trained from."""
    same = trained.get(weights_only(spec), trial.number)
    if same != trial.number:
        return f"Its weights are those of trial {same}, in its own format."
    parent = spec.parent and trained.get(weights_only(spec.parent))
    whose = "the base" if spec.parent is None else "another study's candidate" if parent is None else f"trial {parent}"
    finalist = "" if trial.finalist_of is None else f"A finalist: trial {trial.finalist_of}, trained on. "
    given_up = "" if trial.curve else " planned"
    return f"{finalist}{pluralize(spec.epochs, 'epoch')}{given_up}, beginning with the weights of {whose}."


def _text(text: str) -> str:
    """Any text as Markdown that shows that very text, on one line."""
    return re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", " ".join(text.split()))
