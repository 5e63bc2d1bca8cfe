"""The end of a study: the base and the shortlist are measured in turns, and that decides between them."""

from dataclasses import dataclass, replace
from statistics import median

import optuna

from edge.measuring.measurement import Measurement, merged
from edge.measuring.plan import MeasurePlan, plan_for
from search.candidate.context import TrialContext
from search.candidate.evaluate import test_accuracy_percent
from search.evaluation import Accuracy
from search.objective import Objective
from search.storage.artifacts import read_artifact
from search.storage.study_record import ComparedModel, FinalComparison, record_comparison, record_of
from search.storage.trial_history import TrialHistory
from search.storage.trial_record import MODEL, TrialRecord
from search.strategy.ranking import best_trial, shortlist

ROUNDS = 3
"""How often base and shortlist are measured in turns; together the rounds make up the final plan."""


@dataclass(frozen=True)
class _Contender:
    number: int
    model: bytes
    threads: int
    accuracy: Accuracy


def compare_finally(study: optuna.Study, context: TrialContext, history: TrialHistory) -> None:
    """Measure the base and the shortlist in turns by the final plan, and store the result with the best of them.

    The labels of the test images are used here and nowhere else, after the choice has been made.
    """
    records = history.records()  # of one moment: a worker that joined from elsewhere may still run a trial
    known = record_of(study).final_comparison
    chosen = shortlist(records, context.objective)
    if chosen and known is not None and all(record.number in known.values for record in chosen):
        return
    plan = plan_for(context.config.measure.final, context.device.shortest_window_s)
    context.progress.end()
    contenders = [_contender(context, record) for record in chosen]
    base_rounds, *others = _measure_in_rounds(context, contenders, plan)
    rounds_of = {each.number: rounds for each, rounds in zip(contenders, others, strict=True)}
    values = {
        each.number: _value(context.objective, rounds_of[each.number], base_rounds, each.accuracy)
        for each in contenders
    }
    best = best_trial(records, context.objective, values)

    def compared(model: bytes, rounds: list[Measurement]) -> ComparedModel:
        return ComparedModel(merged(rounds, plan), test_accuracy_percent(context, model))

    base_figures = compared(context.base_model, base_rounds)
    best_figures = None
    for each in contenders:
        if best is not None and each.number == best.number:
            best_figures = compared(each.model, rounds_of[each.number])
    number = None if best is None else best.number
    record_comparison(study, FinalComparison(number, base_figures, best_figures, values))


def _contender(context: TrialContext, record: TrialRecord) -> _Contender:
    assert record.spec is not None and record.evaluation is not None  # it is feasible
    model = read_artifact(context.config, record.artifacts[MODEL])
    return _Contender(record.number, model, record.spec.threads, record.evaluation.accuracy)


def _measure_in_rounds(
    context: TrialContext, contenders: list[_Contender], plan: MeasurePlan
) -> list[list[Measurement]]:
    """Return the rounds of the base, then those of each contender."""
    models = [("base", context.base_model, 1)]
    models += [(f"trial {each.number}", each.model, each.threads) for each in contenders]
    found: list[list[Measurement]] = [[] for _ in models]
    for number in range(1, ROUNDS + 1):
        for (name, model, threads), rounds in zip(models, found, strict=True):
            context.progress.phase(f"comparing: {name}, round {number} of {ROUNDS}, {plan.name} plan")
            part = replace(plan.part(ROUNDS), threads=threads)
            rounds.append(context.device.measure(model, part, context.data.test[0]))
    return found


def _value(
    objective: Objective, rounds: list[Measurement], base_rounds: list[Measurement], accuracy: Accuracy
) -> float:
    """Return the objective's value by the ratio to the base of the same round: what drifts between rounds cancels out.

    Args:
        objective: The objective.
        rounds: The candidate's measurements.
        base_rounds: The base's measurements.
        accuracy: The candidate's accuracy.
    """
    percent = accuracy.decision_percent
    ratios = []
    base_values = []
    for own, base in zip(rounds, base_rounds, strict=True):
        base_value = objective.value_of(base, percent)
        base_values.append(base_value)
        ratios.append(objective.value_of(own, percent) / base_value)
    return median(ratios) * median(base_values)
