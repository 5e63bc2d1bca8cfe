"""Read a study out of its storage, once, into plain data for tables and the report."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import optuna
from optuna.storages._rdb.storage import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from compress.spec import CompressionSpec
from edge.measuring.measurement import Measurement
from search.config import StudyConfig
from search.report.results import IMPORTANCE_TRIALS, Figures, Phase, StudyResults, TrialResult
from search.storage.bulk_queries import read_trials
from search.storage.study_state import FINALIST, WORKER, best_trial

ARTIFACT = "artifact "
"""So begin the names of the attributes that hold an artifact's id."""
GLANCED = ("reason", "shortfall", "candidate", "structure", "phases", "seconds", FINALIST)
"""What counts, the best and the savings are made of."""


def glance(study: optuna.Study, config: StudyConfig, last: int) -> StudyResults:
    """As `collect`, without what only a report needs: the `last` trials and the best are whole, the others counted."""
    database = getattr(study._storage, "_backend", None)
    if not isinstance(database, RDBStorage):  # a proxy gives all or one at a time
        return collect(study, config)
    with database.engine.connect() as connection:
        trials = read_trials(connection, study._study_id, attributes=GLANCED)
    best = best_trial(study, trials=trials)
    wanted = [trial._trial_id for trial in [*trials[-last:], *([best] if best else [])]]
    with database.engine.connect() as connection:
        whole = {trial.number: trial for trial in read_trials(connection, study._study_id, only=wanted)}
    known = [_trial(whole[trial.number]) if trial.number in whole else _counted(trial) for trial in trials]
    return _collect(study, config, known, whole[best.number] if best else None, {})


def collect(study: optuna.Study, config: StudyConfig) -> StudyResults:
    """Everything that the study has found so far."""
    trials = study.get_trials(deepcopy=False)
    best = best_trial(study, trials=trials)
    return _collect(study, config, [_trial(trial) for trial in trials], best, _importances(study))


def _collect(
    study: optuna.Study,
    config: StudyConfig,
    trials: Iterable[TrialResult],
    best: FrozenTrial | None,
    importances: dict[str, float],
) -> StudyResults:
    about = study.user_attrs
    comparison: dict[str, Any] = about.get("comparison", {})
    base_spec = CompressionSpec()
    base = best_figures = None
    if "base" in comparison:
        base = _figures("unpruned base", comparison["base"], base_spec, "test")
    # A comparison of an earlier run does not speak of a candidate that was found since.
    compared = best is not None and comparison.get("trial") == best.number
    if best is not None:
        spec = CompressionSpec.from_dict(best.user_attrs["spec"])
        if compared:
            best_figures = _figures(f"trial {best.number}", comparison["best"], spec, "test")
        else:
            best_figures = _trial_figures(best, spec)
    return StudyResults(
        name=config.name,
        road=config.road,
        data=about.get("data", config.data),
        data_source=about.get("data source", ""),
        rule_percent=about.get("rule_percent", 0.0),
        required_percent=about.get("required_percent", 0.0),
        device=", ".join(config.devices),
        meter=config.meter,
        environment=about.get("environment", {}),
        base=base,
        best=best_figures,
        best_trial=None if best is None else best.number,
        compared=compared,
        base_architecture=base_spec.architecture(),
        importances=importances,
        trials=tuple(trials),
        decision_images=about.get("decision_images", 0),
        test_images=about.get("test_images", 0),
        tie_tolerance=about.get("tie_tolerance", 0.0),
    )


def _figures(name: str, measured: dict[str, Any], spec: CompressionSpec, accuracy_of: str) -> Figures:
    measurement = Measurement.from_dict(measured["measurement"])
    return Figures(
        name=name,
        accuracy_percent=measured["test_accuracy_percent" if accuracy_of == "test" else "accuracy_percent"],
        accuracy_of=accuracy_of,
        latency_ms=measurement.latency_ms,
        p90_ms=measurement.p90_ms,
        spread=measurement.spread,
        energy_mj=measurement.energy_mj,
        power_w=measurement.power_w,
        estimated=measurement.estimated,
        peak_memory_mb=measurement.peak_memory_mb,
        memory_growth_mb=measurement.memory_growth_mb,
        model_bytes=measurement.model_bytes,
        parameters=spec.architecture().parameters,
        macs=spec.architecture().macs,
        sha256=measurement.sha256,
        plan=measurement.plan.name,
    )


def _trial_figures(trial: FrozenTrial, spec: CompressionSpec) -> Figures | None:
    about = trial.user_attrs
    if "measurement" not in about or "candidate" not in about:
        return None
    measured = {"measurement": about["measurement"], "accuracy_percent": about["candidate"]["accuracy_percent"]}
    return _figures(f"trial {trial.number}", measured, spec, "validation")


def _counted(trial: FrozenTrial) -> TrialResult:
    """What GLANCED tells of a trial."""
    about, complete = trial.user_attrs, trial.state == TrialState.COMPLETE
    parted = about.get("candidate", {})
    return TrialResult(
        number=trial.number,
        state=trial.state.name,
        reason=about.get("reason", ""),
        feasible=complete and about["shortfall"] <= 0,
        value=trial.value if complete else None,  # Optuna gives a pruned trial its last accuracy
        figures=None,
        spec=None,
        architecture=None,
        operators={},
        curve=(),
        seconds=_seconds(about),
        params={},
        finalist_of=about.get(FINALIST),
        search_percent=parted.get("search_percent"),
        decision_percent=parted.get("decision_percent"),
    )


def _trial(trial: FrozenTrial) -> TrialResult:
    about = trial.user_attrs
    spec = CompressionSpec.from_dict(about["spec"]) if "spec" in about else None
    artifacts = {name.removeprefix(ARTIFACT): value for name, value in about.items() if name.startswith(ARTIFACT)}
    return replace(
        _counted(trial),
        figures=None if spec is None else _trial_figures(trial, spec),
        spec=spec,
        architecture=None if spec is None else spec.architecture(),
        operators=about.get("candidate", {}).get("operators", {}),
        curve=tuple(trial.intermediate_values[step] for step in sorted(trial.intermediate_values)),
        params=dict(trial.params),
        phases=_phases(about),
        worker=about.get(WORKER, ""),
        artifacts=artifacts,
        measurement_json=json.dumps(about["measurement"]) if "measurement" in about else "",
    )


def _phases(about: dict[str, Any]) -> tuple[Phase, ...]:
    """Those that the stopwatch has written, each on the board that the trial tells."""
    boards = {
        "measure structure": about.get("structure", {}).get("device", ""),
        "measure": about.get("measurement", {}).get("device", ""),
    }
    return tuple(Phase(name, start, seconds, boards.get(name, "")) for name, start, seconds in about.get("phases", ()))


def _seconds(about: dict[str, Any]) -> dict[str, float]:
    """The sum of each phase; a study of before phases were stored has sums."""
    if "phases" not in about:
        return dict(about.get("seconds", {}))
    seconds: dict[str, float] = defaultdict(float)
    for name, _, taken in about["phases"]:
        seconds[name] += taken
    return {name: round(value, 3) for name, value in seconds.items()}


def _importances(study: optuna.Study) -> dict[str, float]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < IMPORTANCE_TRIALS or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
