"""The end of a study: the best few and the base measured side by side, and which of them it is."""

import json
from dataclasses import replace
from typing import Any

import optuna

from edge import Measurement, plan_for
from search.artifacts import read_artifact
from search.bench import Bench
from search.bounds import objective
from search.candidate import test_accuracy_percent
from search.storage import best_trial, contenders, run_off


def compare(study: optuna.Study, bench: Bench, base: bytes) -> None:
    """Measure the base and the contenders one after the other by the closing plan, which decides between them.

    Stores their figures, and the accuracy of base and best on all test images. The labels of the test images are used
    here and nowhere else, when the choice has been made.
    """
    trials = study.get_trials(deepcopy=False)  # of one moment: a worker that joined from elsewhere may yet be at one
    few = contenders(study, trials)
    if few and all(trial.number in run_off(study) for trial in few):
        return
    plan = plan_for(bench.config.measure.final, bench.device.shortest_window_s)
    bench.progress.end()

    def measured(name: str, model: bytes, threads: int) -> Measurement:
        bench.progress.phase(f"comparing: {name}, {plan.name} plan")
        return bench.device.measure(model, replace(plan, threads=threads), bench.data.test[0])

    def figures(model: bytes, measurement: Measurement) -> dict[str, Any]:
        accuracy = test_accuracy_percent(bench, model)
        return {"measurement": json.loads(measurement.to_json()), "test_accuracy_percent": accuracy}

    base_measurement = measured("base", base, 1)
    found: dict[int, tuple[bytes, Measurement]] = {}
    values: dict[int, float] = {}
    for trial in few:
        about = trial.user_attrs
        model = read_artifact(bench.config, about["artifact model.tflite"])
        found[trial.number] = model, measured(f"trial {trial.number}", model, about["spec"]["threads"])
        accuracy = about["candidate"]["accuracy_percent"]
        values[trial.number] = objective(bench.config.road, found[trial.number][1], accuracy)
    best = best_trial(study, values, trials=trials)
    comparison = {
        "trial": None if best is None else best.number,
        "base": figures(base, base_measurement),
        **({} if best is None else {"best": figures(*found[best.number])}),
        "run_off": values,
    }
    study.set_user_attr("comparison", comparison)
