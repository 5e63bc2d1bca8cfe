"""The results of a study in sentences, for terminal, pages and notes alike."""

from collections import Counter

from optuna.trial import TrialState

from search.evaluation import Stage
from search.report.early_stopping_savings import StageSaving, early_stopping_savings
from search.report.formatting import duration, percent, pluralize, significant
from search.report.results import Figures, StudyResults, TrialResult
from search.strategy.early_stopping import holding_probability

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
PRUNED_AT = {
    Stage.BOUND: "before any measurement",
    Stage.ARCHITECTURE: "after the architecture",
    Stage.TRAINING: "in training",
    Stage.MEASUREMENT: "after the measurement",
}


def trial_counts(results: StudyResults) -> str:
    """Return the trials by state: "40 trials: 25 complete (18 feasible), 12 pruned, 3 failed"."""
    by_state = Counter(trial.state for trial in results.trials)
    parts = []
    for state, word in STATES.items():
        if not by_state[state]:
            continue
        part = f"{by_state[state]} {word}"
        if state is TrialState.COMPLETE:
            feasible = sum(trial.feasible for trial in results.complete)
            part += f" ({feasible} feasible)"
        parts.append(part)
    total = pluralize(len(results.trials), "trial")
    if not parts:
        return total
    return f"{total}: {', '.join(parts)}"


def objective_title(results: StudyResults) -> str:
    """Return the name of a trial's value with its unit, marked where the power is assumed."""
    label = results.objective.label
    if not results.objective.needs_power:
        return label
    figures = [results.base, results.best, *(trial.figures for trial in results.trials)]
    if any(each is not None and each.estimated for each in figures):
        return f"{label}, estimated"
    return label


def objective_text(results: StudyResults) -> str:
    """Return what the study searches for: "lowest latency [ms]"."""
    if results.objective.is_maximized:
        return f"highest {objective_title(results)}"
    return f"lowest {objective_title(results)}"


def constraint_text(results: StudyResults) -> str:
    """Return the accuracy constraint, its margin, and how surely the best candidate meets it."""
    limit = f"{significant(results.constraint_percent)} %"
    sentences = [f"at least {limit} test accuracy.", _margin_text(results)]
    best = results.best_result
    if best is not None and best.decision_percent is not None:
        if results.decision_images and results.test_images:
            sentences.append(_confidence_text(results, best.number, best.decision_percent))
    if results.tie_tolerance > 0:
        sentences.append(
            f"Candidates within {100 * results.tie_tolerance:.1f} % of the best value count as "
            "equal; the most accurate of them is the best."
        )
    return " ".join(sentences)


def _margin_text(results: StudyResults) -> str:
    images = "validation images"
    if results.decision_images:
        images = "held-out validation images"
    required = significant(results.required_percent)
    margin = significant(results.required_percent - results.constraint_percent)
    return f"A candidate needs {required} % on the {images}, a margin of {margin} points."


def _confidence_text(results: StudyResults, trial: int, decision_percent: float) -> str:
    images = (results.decision_images, results.test_images)
    tried = max(1, results.tried_against_constraint)
    chance = holding_probability(results.constraint_percent, decision_percent, *images, tried)
    probability = f"at least {100 * chance:.1f} %"
    if chance > 0.999:
        probability = "more than 99.9 %"
    networks = "the only network as good that was"
    if tried > 1:
        networks = f"one of {tried} networks as good that were"
    return (
        f"Trial {trial} reaches {percent(decision_percent)} % there: its test accuracy is at least "
        f"{significant(results.constraint_percent)} % with {probability} probability (binomial "
        f"counts of {images[0]:,} and {images[1]:,} images; {networks} tried against the constraint)."
    )


def savings_text(results: StudyResults) -> str:
    """Return what early stopping has saved, in one line; "" while no trial was pruned."""
    stages = [stage for stage in early_stopping_savings(results.trials) if stage.ended]
    if not stages:
        return ""
    counts = [f"{stage.ended} {PRUNED_AT[stage.stage]}" for stage in stages]
    others = sum(trial.state is TrialState.PRUNED and trial.pruned_at is None for trial in results.trials)
    if others:
        counts.append(f"{others} for other reasons")
    return f"pruned: {', '.join(counts)}{_saved_times(stages)}"


def _saved_times(stages: list[StageSaving]) -> str:
    device_s = 0.0
    training_s = 0.0
    for stage in stages:
        if stage.device_saved_s is None or stage.training_saved_s is None:
            return ""
        device_s += stage.device_saved_s
        training_s += stage.training_saved_s
    return (
        f"; saved about {duration(device_s)} of device time and {duration(training_s)} of training"
    )


def describe_model(trial: TrialResult) -> str:
    """Return a trial's model in one line: channels, dropped blocks, quantization, training."""
    if trial.spec is None or trial.architecture is None:
        return ""
    spec = trial.spec
    parts = [f"channels {' '.join(map(str, trial.architecture.widths))}"]
    if spec.dropped_blocks:
        parts.append(f"without blocks {' '.join(map(str, spec.dropped_blocks))}")
    parts += [
        f"stem stride {spec.stem_stride}",
        str(spec.quantization),
        pluralize(spec.epochs, "epoch"),
    ]
    return ", ".join(parts)


def describe_figures(figures: Figures) -> str:
    """Return accuracy, speed and measurement protocol in one line."""
    accuracy = f"{percent(figures.accuracy_percent)} % {figures.accuracy_of} accuracy"
    return f"{accuracy}, {significant(figures.latency_ms)} ms, protocol {figures.plan}"
