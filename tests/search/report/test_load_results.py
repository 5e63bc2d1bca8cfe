"""What a report reads of a stored study."""

import optuna
from handmade import measurement

from search.adapters.optuna_trials import enqueue
from search.config import StudyConfig
from search.evaluation import Accuracy, ArchitectureResult, Evaluation, Phase, PhaseTime
from search.report.load_results import load_results
from search.report.results import DevicePhase
from search.storage.study_record import StudyFacts, record_beginning
from search.storage.trial_record import (
    record_architecture,
    record_evaluation,
    record_phases,
    record_worker,
    refinement_attributes,
)

CONFIG = StudyConfig(road="latency", data="digits")
PHASES = (
    PhaseTime(Phase.ARCHITECTURE, 10.0, 1.0),
    PhaseTime(Phase.MEASURE_ARCHITECTURE, 11.0, 2.0),
    PhaseTime(Phase.WAITING, 13.0, 0.5),
    PhaseTime(Phase.MEASURE, 13.5, 4.0),
    PhaseTime(Phase.MEASURE, 17.5, 0.25),
)


def test_what_is_required_comes_from_the_storage() -> None:
    study = optuna.create_study()
    before = load_results(study, CONFIG)
    assert (before.decision_images, before.test_images, before.tie_tolerance) == (0, 0, 0.0)
    record_beginning(study, {}, StudyFacts(decision_images=3_000, test_images=10_000, tie_tolerance=0.02))
    begun = load_results(study, CONFIG)
    assert (begun.decision_images, begun.test_images, begun.tie_tolerance) == (3_000, 10_000, 0.02)


def test_times_come_from_the_phases() -> None:
    study = optuna.create_study()
    enqueue(study, {}, refinement_attributes(3))
    trial = study.ask()
    measured = measurement()
    record_worker(trial, "host:7")
    record_phases(trial, PHASES)
    record_architecture(trial, ArchitectureResult(220_000, 0.01, (measurement(device="ssh://first"),)))
    evaluation = Evaluation(0.01, b"a model", {}, Accuracy(71.2, 71.0, 71.5), measured, 0.0, 0.0)
    record_evaluation(trial, evaluation, {"model.tflite": "abc"}, "a key")
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    study.tell(study.ask(), state=optuna.trial.TrialState.PRUNED)

    timed, untimed = load_results(study, CONFIG).trials
    assert timed.seconds == {
        Phase.ARCHITECTURE: 1.0, Phase.MEASURE_ARCHITECTURE: 2.0, Phase.WAITING: 0.5, Phase.MEASURE: 4.25,
    }  # fmt: skip
    assert timed.phases[:2] == (
        DevicePhase(Phase.ARCHITECTURE, 10.0, 1.0),
        DevicePhase(Phase.MEASURE_ARCHITECTURE, 11.0, 2.0, "ssh://first"),
    )
    assert timed.phases[3].device == measured.device
    assert (timed.worker, timed.artifacts, timed.refined_from) == ("host:7", {"model.tflite": "abc"}, 3)
    assert timed.measurement == measured
    assert (untimed.phases, untimed.seconds, untimed.worker) == ((), {}, "")
