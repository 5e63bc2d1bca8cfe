"""Which trials are the best: pure functions of their records."""

from collections.abc import Mapping, Sequence

import optuna

from search.objective import Objective
from search.storage.trial_record import TrialRecord

TIE = 0.02
"""Values closer than this share count as equal, and the more accurate candidate wins, as the rules of the competition
say. Medians of repeated measurements of one model vary by 1.4 % (`make bench`)."""
MAX_SHORTLIST = 4
"""How many of the best are measured again by the final protocol, which decides between them."""
SHORTLIST_WITHIN = 0.06
"""How far from the best value a candidate of the shortlist may be: windows of a tenth of a second vary by 5 % on a
shared machine."""


def is_close(value: float | None, to: float | None, within: float = TIE) -> bool:
    """Return True where two values of an objective differ by at most this share of the larger one."""
    if value is None or to is None:
        return False
    return abs(value - to) <= within * max(value, to)


def objective_like(study: optuna.Study) -> Objective:
    """Return an objective with the study's direction, which is all that ranking needs."""
    if study.direction is optuna.study.StudyDirection.MAXIMIZE:
        return Objective.FOM
    return Objective.LATENCY


def rank(records: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Return the trials that meet the accuracy constraint, the best first."""
    return _sorted([record for record in records if record.is_feasible], objective)


def rank_predicted(records: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Return the trials that are predicted to meet the constraint after the final training, the best first.

    Once a candidate has had its final training, that result replaces the prediction.
    """
    complete = [record for record in records if record.is_complete]
    refined = {record.refinement.of for record in complete if record.refinement is not None}
    predicted = [record for record in complete if record.is_predicted_feasible and record.number not in refined]
    return _sorted(predicted, objective)


def _sorted(records: list[TrialRecord], objective: Objective) -> list[TrialRecord]:
    return sorted(records, key=lambda record: record.value or 0.0, reverse=objective.is_maximized)


def best_value(records: Sequence[TrialRecord], objective: Objective) -> float | None:
    """Return the best value of a trial that meets the constraint; None where there is none."""
    feasible = rank(records, objective)
    return feasible[0].value if feasible else None


def best_trial(
    records: Sequence[TrialRecord], objective: Objective, remeasured: Mapping[int, float]
) -> TrialRecord | None:
    """Return the best trial that meets the constraint, the most accurate of those that tie; None where there is none.

    `remeasured`: the values of the final comparison by trial. They decide where they hold the whole shortlist;
    otherwise the short measurements of the search do.
    """
    values: dict[int, float] = {}
    candidates = shortlist(records, objective)
    if all(record.number in remeasured for record in candidates):
        values = {record.number: remeasured[record.number] for record in candidates}
    else:
        candidates = rank(records, objective)
        values = {record.number: record.value for record in candidates if record.value is not None}
    if not values:
        return None
    best = objective.best(values.values())
    ties = [record for record in candidates if is_close(values[record.number], best)]
    return max(ties, key=_decision_percent)


def shortlist(records: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Return the best few trials that meet the constraint and that short measurements cannot tell apart.

    Each model is listed once. Each counts with the better of its two values, that of the untrained architecture and
    that of the trained model: other work on the machine makes a model slower and never faster.
    """
    feasible = rank(records, objective)
    values = {record.number: _value_at_best(record, objective) for record in feasible}
    feasible.sort(key=lambda record: values[record.number], reverse=objective.is_maximized)
    models: dict[str, TrialRecord] = {}
    for record in feasible:
        if not is_close(values[record.number], values[feasible[0].number], SHORTLIST_WITHIN):
            break
        assert record.evaluation is not None  # it is feasible
        models.setdefault(record.evaluation.sha256, record)
    return list(models.values())[:MAX_SHORTLIST]


def _value_at_best(record: TrialRecord, objective: Objective) -> float:
    value = record.value or 0.0
    if record.architecture is None or record.evaluation is None:
        return value
    untrained = record.architecture.best_case
    if objective is Objective.FOM:
        untrained = untrained * record.evaluation.accuracy.search_percent / 100
    return objective.best([value, untrained])


def _decision_percent(record: TrialRecord) -> float:
    return 0.0 if record.evaluation is None else record.evaluation.accuracy.decision_percent
