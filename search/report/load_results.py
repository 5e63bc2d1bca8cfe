"""Read a study out of its storage, once, into plain data for tables and the report."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import optuna

from compress.spec import CompressionSpec
from edge.measuring.measurement import Measurement
from search.adapters.optuna_rdb import read_summaries, read_whole
from search.config import StudyConfig
from search.evaluation import Phase
from search.report.results import (
    MIN_IMPORTANCE_TRIALS,
    DevicePhase,
    Figures,
    StudyResults,
    TrialResult,
)
from search.storage.study_record import ComparedModel, FinalComparison, record_of
from search.storage.trial_record import SUMMARY, TrialRecord, read_trial, read_trials
from search.strategy.ranking import best_trial


def load_summary(study: optuna.Study, config: StudyConfig, last: int) -> StudyResults:
    """Return the results for `thrones status`: the `last` trials and the best have all details.

    The others have what counts and savings need. The importances are left out.
    """
    summaries = read_summaries(study, SUMMARY)
    if summaries is None:
        return load_results(study, config)
    records = [read_trial(trial) for trial in summaries]
    best = _best(study, config, records)
    wanted = summaries[-last:]
    if best is not None and summaries[best.number] not in wanted:
        wanted = [*wanted, summaries[best.number]]
    whole = {}
    if wanted:
        whole = {trial.number: read_trial(trial) for trial in read_whole(study, wanted)}
    trials = []
    for record in records:
        if record.number in whole:
            trials.append(_trial_result(whole[record.number]))
        else:
            trials.append(_summary_result(record))
    if best is not None:
        best = whole[best.number]
    return _study_results(study, config, trials, best, importances={})


def load_results(study: optuna.Study, config: StudyConfig) -> StudyResults:
    """Return everything that the study has found so far."""
    records = read_trials(study)
    best = _best(study, config, records)
    trials = map(_trial_result, records)
    return _study_results(study, config, trials, best, _importances(study))


def _best(
    study: optuna.Study, config: StudyConfig, records: Sequence[TrialRecord]
) -> TrialRecord | None:
    return best_trial(records, config.road, record_of(study).remeasured)


def _study_results(
    study: optuna.Study,
    config: StudyConfig,
    trials: Iterable[TrialResult],
    best: TrialRecord | None,
    importances: dict[str, float],
) -> StudyResults:
    """Return the results of a study.

    Args:
        study: The stored study.
        config: Its configuration.
        trials: The results of its trials.
        best: The record of the best trial, None where there is none.
        importances: The importance of each parameter, 0..1.
    """
    stored = record_of(study)
    facts = stored.facts
    comparison = stored.final_comparison
    base_spec = CompressionSpec()
    base_figures = None
    if comparison is not None:
        base_figures = _compared_figures("unpruned base", comparison.base, base_spec)
    results = StudyResults(
        name=config.name,
        objective=config.road,
        data=facts.data or config.data,
        data_source=facts.data_source,
        constraint_percent=facts.constraint_percent,
        required_percent=facts.required_percent,
        device=", ".join(config.devices),
        meter=config.meter,
        environment=dict(facts.environment),
        base=base_figures,
        best=None,
        best_trial=None,
        compared=False,
        base_architecture=base_spec.architecture(),
        importances=importances,
        trials=tuple(trials),
        decision_images=facts.decision_images,
        test_images=facts.test_images,
        tie_tolerance=facts.tie_tolerance,
    )
    if best is None:
        return results
    # A comparison of an earlier run does not include a candidate that was found since.
    is_compared = comparison is not None and comparison.trial == best.number
    figures = _best_figures(best, comparison)
    return replace(results, best=figures, best_trial=best.number, compared=is_compared)


def _best_figures(best: TrialRecord, comparison: FinalComparison | None) -> Figures | None:
    """Return the figures of the final comparison if it measured the best, else of its trial."""
    if comparison is None or comparison.trial != best.number:
        return _trial_figures(best)
    if comparison.best is None or best.spec is None:
        return None
    return _compared_figures(f"trial {best.number}", comparison.best, best.spec)


def _compared_figures(name: str, model: ComparedModel, spec: CompressionSpec) -> Figures:
    return _figures(name, model.measurement, spec, model.test_accuracy_percent, "test")


def _trial_figures(record: TrialRecord) -> Figures | None:
    if record.spec is None or record.measurement is None or record.evaluation is None:
        return None
    percent = record.evaluation.accuracy.validation_percent
    return _figures(
        f"trial {record.number}", record.measurement, record.spec, percent, "validation"
    )


def _figures(
    name: str,
    measurement: Measurement,
    spec: CompressionSpec,
    accuracy_percent: float,
    accuracy_of: str,
) -> Figures:
    """Return the figures of a model.

    Args:
        name: The name in tables.
        measurement: The measurement of the model.
        spec: The spec of the model.
        accuracy_percent: The accuracy of the model.
        accuracy_of: The images on which it was taken: "test" or "validation".
    """
    architecture = spec.architecture()
    return Figures(
        name=name,
        accuracy_percent=accuracy_percent,
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
        parameters=architecture.parameters,
        macs=architecture.macs,
        sha256=measurement.sha256,
        plan=measurement.plan.name,
    )


def _summary_result(record: TrialRecord) -> TrialResult:
    """Return what the attributes in SUMMARY say of a trial."""
    refined_from = None
    if record.refinement is not None:
        refined_from = record.refinement.of
    search_percent = None
    decision_percent = None
    if record.evaluation is not None:
        search_percent = record.evaluation.accuracy.search_percent
        decision_percent = record.evaluation.accuracy.decision_percent
    return TrialResult(
        number=record.number,
        state=record.state,
        end_reason=record.end_reason,
        reason=record.message,
        feasible=record.is_feasible,
        value=record.value,
        seconds=_seconds(record),
        refined_from=refined_from,
        search_percent=search_percent,
        decision_percent=decision_percent,
    )


def _trial_result(record: TrialRecord) -> TrialResult:
    architecture = None
    if record.spec is not None:
        architecture = record.spec.architecture()
    operators: dict[str, int] = {}
    if record.evaluation is not None:
        operators = record.evaluation.operators
    return replace(
        _summary_result(record),
        figures=_trial_figures(record),
        spec=record.spec,
        architecture=architecture,
        operators=operators,
        curve=record.curve,
        params=dict(record.params),
        phases=_device_phases(record),
        worker=record.worker or "",
        artifacts=dict(record.artifacts),
        measurement=record.measurement or record.architecture_measurement,
    )


def _device_phases(record: TrialRecord) -> tuple[DevicePhase, ...]:
    """Return the phases of a trial, each with the device that worked in it."""
    devices: dict[Phase, str] = {}
    if record.architecture is not None:
        devices[Phase.MEASURE_ARCHITECTURE] = record.architecture.device
    if record.measurement is not None:
        devices[Phase.MEASURE] = record.measurement.device
    phases = []
    for each in record.phases:
        device = devices.get(each.phase, "")
        phases.append(DevicePhase(each.phase, each.start_s, each.seconds, device))
    return tuple(phases)


def _seconds(record: TrialRecord) -> dict[Phase, float]:
    """Return the seconds of all phases of a kind together."""
    seconds: dict[Phase, float] = defaultdict(float)
    for each in record.phases:
        seconds[each.phase] += each.seconds
    return {phase: round(total, 3) for phase, total in seconds.items()}


def _importances(study: optuna.Study) -> dict[str, float]:
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < MIN_IMPORTANCE_TRIALS or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
