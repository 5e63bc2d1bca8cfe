"""The end of a search: its best candidates are trained for longer, and tried in every quantization scheme."""

import time
from collections.abc import Callable, Sequence

import optuna
from optuna.trial import TrialState

from compress.quantization import Quantization
from search.adapters.optuna_trials import enqueue
from search.candidate.context import TrialContext
from search.evaluation import EndReason, Rejected, Rejection
from search.objective import Objective
from search.runner.loop import run_trials
from search.runner.trial import run_trial
from search.storage.retry import count_trials, without_retried
from search.storage.trial_history import TrialHistory
from search.storage.trial_record import TrialRecord, refinement_attributes
from search.strategy.ranking import best_value, is_close

MAX_QUANTIZATION_LOSS_POINTS = 0.5
"""Points of accuracy that quantization after training may cost before quantization-aware training is tried."""
MAX_FIRST_VIOLATION_POINTS = 2.0
"""Points that the first candidate may lack of being predicted feasible: one gained 5.8 in 8 epochs where 3.8 were
predicted."""
MAX_SLOWDOWN = 2.0
"""A scheme whose architecture is this many times worse than the best is tried for no further candidate: int16x8 takes
20 times as long as float32 on x86."""
UNCOUNTED = (EndReason.OUT_OF_TIME, EndReason.DUPLICATE)


def run_final_training(
    study: optuna.Study,
    context: TrialContext,
    history: TrialHistory,
    deadline_s: float,
    search_on: Callable[[], bool],
) -> None:
    """Train the best candidate for longer, then the next, until the budget ends; each in every scheme.

    Args:
        study: The study.
        context: What the trials share.
        history: The trials of the study.
        deadline_s: `time.monotonic()` when the budget ends.
        search_on: Runs one more trial of the search; returns False where none is left. It is called where no candidate
            is predicted feasible: what a final training has learnt can change the prediction for those that start from
            it.
    """
    settings = context.config.final_training
    attempted: set[int] = set()  # a scheme that the budget's end cut off is not enqueued again and again
    while settings.candidates and deadline_s > time.monotonic() and not context.is_orphaned():
        records = history.records()
        before = final_trainings(records)
        for origin, trials in before.items():
            if len(trials) == 1 and origin not in attempted:
                if _enqueue_other_schemes(study, records, trials[0], settings.quantization):
                    attempted.add(origin)
        run_waiting(study, context, history, deadline_s)
        if len(before) < settings.candidates and enqueue_next(study, history.records(), context.objective):
            run_waiting(study, context, history, deadline_s)
            if len(final_trainings(history.records())) == len(before):  # cut off by the budget's end
                return
        elif not search_on():
            return


def _enqueue_other_schemes(
    study: optuna.Study, records: Sequence[TrialRecord], first: TrialRecord, schemes: Sequence[Quantization]
) -> bool:
    """Enqueue a candidate that had its final training in the other schemes; return True where there was one."""
    assert first.refinement is not None  # it is a final training
    hopeless = hopeless_schemes(records)
    wanted = [
        scheme for scheme in other_schemes(first, schemes) if scheme.post_training not in hopeless
    ]
    for scheme in wanted:
        enqueue(study, first.params, refinement_attributes(first.refinement.of, str(scheme)))
    return bool(wanted)


def other_schemes(first: TrialRecord, schemes: Sequence[Quantization]) -> list[Quantization]:
    """Return the schemes in which a candidate is tried after its first final training.

    Quantization-aware training is tried where int8 costs more than MAX_QUANTIZATION_LOSS_POINTS.
    """
    if first.evaluation is None or first.spec is None:
        return []
    loss_points = first.curve[-1] - first.evaluation.accuracy.search_percent
    is_int8 = first.spec.quantization is Quantization.INT8
    tries_aware = is_int8 and loss_points > MAX_QUANTIZATION_LOSS_POINTS
    return [
        scheme
        for scheme in schemes
        if scheme is not first.spec.quantization and (tries_aware or not scheme.needs_aware_training)
    ]


def hopeless_schemes(records: Sequence[TrialRecord]) -> set[Quantization]:
    """Return the schemes in which a candidate was rejected for an architecture MAX_SLOWDOWN times behind the best."""
    found = set()
    for record in records:
        if record.state is not TrialState.PRUNED or not record.is_refinement:
            continue
        if record.architecture is None or record.architecture.advantage is None or record.spec is None:
            continue
        if record.architecture.advantage * MAX_SLOWDOWN < 1:
            found.add(record.spec.quantization.post_training)
    return found


def run_unless_duplicate(
    trial: optuna.Trial, context: TrialContext, history: TrialHistory, deadline_s: float
) -> float:
    """Run the trial, unless another worker has enqueued the same final training at the same time.

    Args:
        trial: The running trial.
        context: What the trials share.
        history: The trials of the study.
        deadline_s: `time.monotonic()` when the budget ends.
    """
    records = history.records()
    own = records[trial.number].refinement
    if own is not None:
        for other in final_trainings(records).get(own.of, []):
            if other.number < trial.number and other.refinement == own:
                message = f"duplicate: trial {other.number} is the same final training"
                raise Rejected(Rejection(EndReason.DUPLICATE, message))
    return run_trial(trial, context, history, deadline_s)


def run_waiting(study: optuna.Study, context: TrialContext, history: TrialHistory, deadline_s: float) -> None:
    """Run the final trainings that wait: of this run, or of an earlier one that was stopped.

    Args:
        study: The study.
        context: What the trials share.
        history: The trials of the study.
        deadline_s: `time.monotonic()` when the budget ends.
    """

    def left() -> int:
        waiting = [record for record in history.records() if record.state is TrialState.WAITING]
        return sum(record.is_refinement for record in waiting)

    def run_one(trial: optuna.Trial) -> float:
        records = history.records()
        is_over = count_trials(records) > context.config.budget.trials
        if is_over and not records[trial.number].is_refinement:
            message = "another worker took the final training, and the budget has no trial left"
            raise Rejected(Rejection(EndReason.NOTHING_LEFT, message))
        return run_unless_duplicate(trial, context, history, deadline_s)

    run_trials(study, context, history, run_one, deadline_s=deadline_s, left=left)


def final_trainings(records: Sequence[TrialRecord]) -> dict[int, list[TrialRecord]]:
    """Return the final trainings by the number of the candidate's trial in the search.

    Those that the budget's end cut off, that were retried, or that were duplicates are left out.
    """
    found: dict[int, list[TrialRecord]] = {}
    for record in without_retried(records):
        if record.refinement is not None and record.end_reason not in UNCOUNTED:
            found.setdefault(record.refinement.of, []).append(record)
    return found


def enqueue_next(study: optuna.Study, records: Sequence[TrialRecord], objective: Objective) -> bool:
    """Enqueue the final training of the most promising candidate; return False where none is worth it."""
    chosen = next_candidate(records, objective)
    if chosen is None:
        return False
    enqueue(study, chosen.params, refinement_attributes(chosen.number))
    return True


def next_candidate(records: Sequence[TrialRecord], objective: Objective) -> TrialRecord | None:
    """Return the candidate whose final training comes next, or None.

    The mean error of earlier predictions corrects the next one. The first candidate may miss its prediction by
    MAX_FIRST_VIOLATION_POINTS where there is nothing better: its result says more about the others.
    """
    trained = final_trainings(records)
    error_points = _mean_prediction_error(records, trained)
    bar = best_value(records, objective)
    candidates = [record for record in records if record.is_complete and not record.is_refinement]
    candidates.sort(key=lambda record: record.value or 0.0, reverse=objective.is_maximized)
    for record in candidates:
        if bar is not None and _is_behind(record, bar, objective):
            return None  # neither this one nor those behind it can win
        if record.number not in trained and _violation(record) <= error_points:
            return record
    if trained or bar is not None:
        return None
    nearest = min(candidates, key=_violation, default=None)
    if nearest is None or _violation(nearest) > MAX_FIRST_VIOLATION_POINTS:
        return None
    return nearest


def _mean_prediction_error(records: Sequence[TrialRecord], trained: dict[int, list[TrialRecord]]) -> float:
    """Return the mean of predicted minus reached violation; 0 where nothing is known.

    Both are taken on the images of the search: those that decide must not choose the next candidate.
    """
    errors = [
        _violation(records[origin]) - _violation(trials[0])
        for origin, trials in trained.items()
        if trials[0].evaluation is not None
    ]
    return sum(errors) / len(errors) if errors else 0.0


def _violation(record: TrialRecord) -> float:
    return 0.0 if record.predicted_violation is None else record.predicted_violation


def _is_behind(record: TrialRecord, bar: float, objective: Objective) -> bool:
    value = record.value or 0.0
    return not is_close(value, bar) and not objective.is_better(value, bar)

