"""Remove what names a machine or a user from results before they leave this machine."""

from dataclasses import replace

import optuna

from edge.measuring.measurement import Measurement
from search.report.results import StudyResults


def anonymize_results(results: StudyResults, study: optuna.Study) -> StudyResults:
    """Return a copy without host names, paths and error messages, which may contain both."""
    measured = study.user_attrs["comparison"]["best"]["measurement"]
    return replace(
        results,
        data_source=results.data,
        device=_kind(measured["device"]),
        meter=measured["meter"] if measured["estimated"] else _kind(measured["meter"]),
        environment={key: value for key, value in measured["environment"].items() if key != "host"},
        trials=tuple(
            replace(
                trial,
                reason=trial.reason if trial.state in ("COMPLETE", "PRUNED") else "",
                worker="",
                phases=tuple(replace(phase, board=_kind(phase.board)) for phase in trial.phases),
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
