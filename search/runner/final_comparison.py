"""The end of a study: the best few and the base measured in turns, and which of them it is."""

import json
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import optuna

from edge.measuring.measurement import Measurement, merged
from edge.measuring.plan import MeasurePlan, plan_for
from search.candidate.accuracy import Accuracy, stored_accuracy
from search.candidate.context import Bench
from search.candidate.train import test_accuracy_percent
from search.storage.artifacts import read_artifact
from search.storage.study_state import best_trial, contenders, run_off
from search.strategy.early_stopping import objective

ROUNDS = 3
"""Base and contenders are measured so many times in turns; together the rounds are the closing plan."""


@dataclass(frozen=True)
class Contender:
    """One of the best few: its trial, model and what it is right on."""

    number: int
    model: bytes
    threads: int
    accuracy: Accuracy


def compare(study: optuna.Study, bench: Bench) -> None:
    """Measure the base and the contenders in turns by the closing plan, which decides between them.

    Stores their figures, and the accuracy of base and best on all test images. The labels of the test images are used
    here and nowhere else, when the choice has been made.
    """
    trials = study.get_trials(deepcopy=False)  # of one moment: a worker that joined from elsewhere may yet be at one
    few = contenders(study, trials)
    if few and all(trial.number in run_off(study) for trial in few):
        return
    plan = plan_for(bench.config.measure.final, bench.device.shortest_window_s)
    bench.progress.end()
    found = [_contender(bench, trial) for trial in few]
    base_rounds, *others = _measure_in_rounds(bench, found, plan)
    values = {
        each.number: _value(bench.config.road, rounds, base_rounds, each.accuracy)
        for each, rounds in zip(found, others, strict=True)
    }
    best = best_trial(study, values, trials=trials)

    def figures(model: bytes, rounds: list[Measurement]) -> dict[str, Any]:
        accuracy = test_accuracy_percent(bench, model)
        measurement = json.loads(merged(rounds, plan).to_json())
        return {"measurement": measurement, "test_accuracy_percent": accuracy}

    comparison = {
        "trial": None if best is None else best.number,
        "base": figures(bench.base_model, base_rounds),
        "run_off": values,
    }
    for each, rounds in zip(found, others, strict=True):
        if best is not None and each.number == best.number:
            comparison["best"] = figures(each.model, rounds)
    study.set_user_attr("comparison", comparison)


def _contender(bench: Bench, trial: optuna.trial.FrozenTrial) -> Contender:
    about = trial.user_attrs
    model = read_artifact(bench.config, about["artifact model.tflite"])
    return Contender(trial.number, model, about["spec"]["threads"], stored_accuracy(about["candidate"]))


def _measure_in_rounds(bench: Bench, few: list[Contender], plan: MeasurePlan) -> list[list[Measurement]]:
    """The rounds of the base, then those of each contender."""
    models = [("base", bench.base_model, 1), *((f"trial {each.number}", each.model, each.threads) for each in few)]
    found: list[list[Measurement]] = [[] for _ in models]
    for number in range(1, ROUNDS + 1):
        for (name, model, threads), rounds in zip(models, found, strict=True):
            bench.progress.phase(f"comparing: {name}, round {number} of {ROUNDS}, {plan.name} plan")
            part = replace(plan.part(ROUNDS), threads=threads)
            rounds.append(bench.device.measure(model, part, bench.data.test[0]))
    return found


def _value(road: str, rounds: list[Measurement], base_rounds: list[Measurement], accuracy: Accuracy) -> float:
    """The road's value by the ratio to the base of the same round, so that what drifts between rounds cancels out."""
    percent = accuracy.decision_percent
    ratios = [
        objective(road, own, percent) / objective(road, base, percent)
        for own, base in zip(rounds, base_rounds, strict=True)
    ]
    return median(ratios) * median(objective(road, base, percent) for base in base_rounds)
