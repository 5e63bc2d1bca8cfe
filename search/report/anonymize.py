"""Remove what names a machine or a user from results before they leave this machine."""

from dataclasses import asdict, replace

import optuna
from optuna.trial import TrialState

from edge.measuring.measurement import Measurement
from search.report.results import StudyResults
from search.storage.study_record import record_of


def anonymize_results(results: StudyResults, study: optuna.Study) -> StudyResults:
    """Return a copy without host names, paths and error messages, which may contain both."""
    comparison = record_of(study).final_comparison
    assert comparison is not None and comparison.best is not None  # the best was compared
    measured = anonymize_measurement(comparison.best.measurement)
    return replace(
        results,
        data_source=results.data,
        device=measured.device,
        meter=measured.meter,
        environment={key: value for key, value in asdict(measured.environment).items() if key != "host"},
        trials=tuple(
            replace(
                trial,
                reason=trial.reason if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else "",
                worker="",
                phases=tuple(replace(phase, device=_kind(phase.device)) for phase in trial.phases),
            )
            for trial in results.trials
        ),
    )


def anonymize_measurement(measured: Measurement) -> Measurement:
    """Return the measurement without the host's name, and with kinds in place of URLs."""
    meter = measured.meter if measured.estimated else _kind(measured.meter)
    return replace(
        measured, device=_kind(measured.device), meter=meter, environment=replace(measured.environment, host="")
    )


def _kind(url: str) -> str:
    """Return the kind of device or meter: `ssh:` of ssh://pi@raspberrypi.local."""
    return url.split(":")[0] + ":"
