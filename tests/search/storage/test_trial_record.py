"""What is recorded of a trial is what is read of it, through a real database that is opened anew."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from record_factories import (
    ACCURACY,
    MODEL,
    architecture,
    complete,
    evaluation,
    failed,
    measured,
    pruned,
    records,
    trial,
    trial_attributes,
    waiting,
)

from compress.quantization import Quantization
from compress.spec import CompressionSpec
from search.adapters.optuna_trials import enqueue, fail_trial
from search.evaluation import EndReason, Phase, PhaseTime, Rejection, Stage
from search.storage.open_storage import open_storage
from search.storage.trial_record import (
    ArchitectureRecord,
    EvaluationRecord,
    Refinement,
    TrialRecord,
    failure_attributes,
    predicted_violation_of,
    read_trials,
    record_architecture,
    record_architecture_windows,
    record_evaluation,
    record_failure,
    record_phases,
    record_rejection,
    record_spec,
    record_worker,
    refinement_attributes,
    retry_attributes,
    speed_key,
)

PARENT = CompressionSpec((0.25,) * 14, epochs=4)
SPEC = replace(
    PARENT, pruning_ratios=(0.1, *(0.3,) * 13), parent=PARENT, quantization="int8", io_dtype="uint8", threads=2
)
PHASES = (PhaseTime(Phase.ARCHITECTURE, 1_700_000_000.125, 2.5), PhaseTime(Phase.WAITING, 1_700_000_002.625, 0.001))


class Stored:
    """A study in a file. `read` opens it anew, as another process does."""

    def __init__(self, path: Path) -> None:
        self._url = f"sqlite:///{path}"
        self.study = optuna.create_study(study_name="stored", storage=open_storage(self._url))

    def read(self) -> list[TrialRecord]:
        """Return the records of the file."""
        return read_trials(optuna.load_study(study_name="stored", storage=open_storage(self._url)))

    def after(self, write: Callable[[optuna.Trial], None]) -> TrialRecord:
        """Return the record of a new trial into which `write` has written."""
        running = self.study.ask()
        write(running)
        return self.read()[running.number]


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path / "study.db")


def test_a_new_trial_has_nothing_but_a_beginning(stored: Stored) -> None:
    record = stored.after(lambda trial: None)
    assert record == TrialRecord(0, TrialState.RUNNING, None, {}, {}, start=record.start)


def test_worker_and_spec(stored: Stored) -> None:
    assert stored.after(lambda trial: record_worker(trial, "pi:8")).worker == "pi:8"
    record = stored.after(lambda trial: record_spec(trial, SPEC))
    assert record.spec == SPEC
    assert record.spec is not None and record.spec.quantization is Quantization.INT8
    assert record.speed_key == speed_key(SPEC)


def test_phases(stored: Stored) -> None:
    record = stored.after(lambda trial: record_phases(trial, PHASES))
    assert record.phases == PHASES
    assert all(isinstance(each.phase, Phase) for each in record.phases)
    assert stored.after(lambda trial: record_phases(trial, ())).phases == ()


@pytest.mark.parametrize("advantage", [None, 1.25])
def test_an_architecture(stored: Stored, advantage: float | None) -> None:
    found = architecture(0.02, macs=123_456, advantage=advantage)
    record = stored.after(lambda trial: record_architecture(trial, found))
    assert record.architecture == ArchitectureRecord(123_456, 0.02, found.measurement.device, advantage)
    assert record.architecture_measurement is record.measurement is None


def test_the_windows_of_an_architecture(stored: Stored) -> None:
    found = architecture(0.02)
    record = stored.after(lambda trial: record_architecture_windows(trial, found))
    assert (record.architecture_measurement, record.measurement) == (found.measurement, None)


@pytest.mark.parametrize("test_accuracy_percent", [None, 71.5])
def test_an_evaluation(stored: Stored, test_accuracy_percent: float | None) -> None:
    found = evaluation(
        0.02,
        operators={"CONV_2D": 3},
        constraint_violation=-0.5,
        predicted_violation=-2.0,
        test_accuracy_percent=test_accuracy_percent,
    )
    artifacts = {"model.tflite": "0a", "weights.npz": "0b"}
    record = stored.after(lambda trial: record_evaluation(trial, found, artifacts, "key"))
    assert record.evaluation == EvaluationRecord(
        sha256=sha256(MODEL).hexdigest(),
        model_bytes=len(MODEL),
        operators={"CONV_2D": 3},
        accuracy=ACCURACY,
        constraint_violation=-0.5,
        test_accuracy_percent=test_accuracy_percent,
    )
    assert record.measurement == found.measurement
    assert record.architecture_measurement is None
    assert (record.predicted_violation, record.end_reason) == (-2.0, None)
    assert (record.artifacts, record.weights_key) == (artifacts, "key")


def test_without_weights_there_is_no_key_of_weights(stored: Stored) -> None:
    record = stored.after(lambda trial: record_evaluation(trial, evaluation(), {"model.tflite": "0a"}, "key"))
    assert record.weights_key is None


@pytest.mark.slow
@pytest.mark.parametrize("predicted_violation", [None, 2.5])
@pytest.mark.parametrize("reason", EndReason)
def test_a_rejection(stored: Stored, reason: EndReason, predicted_violation: float | None) -> None:
    found = Rejection(reason, "one line", predicted_violation)
    record = stored.after(lambda trial: record_rejection(trial, found))
    assert record.end_reason is reason
    assert (record.message, record.predicted_violation) == ("one line", predicted_violation)


@pytest.mark.parametrize("retried", [False, True])
def test_a_failure(stored: Stored, retried: bool) -> None:
    reason = EndReason.INVALID_MEASUREMENT
    record = stored.after(lambda trial: record_failure(trial, reason, "unsteady", retried=retried))
    assert (record.end_reason, record.message, record.retried) == (reason, "unsteady", retried)
    assert record.predicted_violation is None


@pytest.mark.parametrize("retried", [False, True])
def test_a_failure_of_another_process(stored: Stored, retried: bool) -> None:
    stored.study.ask()
    fail_trial(stored.study, 0, failure_attributes(EndReason.INTERRUPTED, retried=retried))
    (record,) = stored.read()
    assert (record.state, record.end_reason, record.retried) == (TrialState.FAIL, EndReason.INTERRUPTED, retried)


@pytest.mark.parametrize("quantization", [None, "int16x8"])
def test_a_refinement(stored: Stored, quantization: str | None) -> None:
    enqueue(stored.study, {"epochs": 4}, refinement_attributes(7, quantization))
    (record,) = stored.read()
    assert record.refinement == Refinement(7, quantization)
    assert (record.is_refinement, record.enqueued, record.state) == (True, {"epochs": 4}, TrialState.WAITING)


@pytest.mark.parametrize(
    ("refinement", "first_try", "counts", "retry_of"),
    [
        (None, None, True, 0),
        (None, None, False, None),
        (Refinement(7, "int8"), None, True, 0),
        (Refinement(7), 3, False, 3),
    ],
)
def test_a_retry(
    stored: Stored, refinement: Refinement | None, first_try: int | None, counts: bool, retry_of: int | None
) -> None:
    stored.study.add_trial(waiting(refinement=refinement, retry_of=first_try))
    enqueue(stored.study, {}, retry_attributes(stored.read()[0], counts=counts))
    again = stored.read()[1]
    assert (again.refinement, again.retry_of) == (refinement, retry_of)


def test_a_curve_is_in_the_order_of_its_epochs(stored: Stored) -> None:
    def report(trial: optuna.Trial) -> None:
        for epoch, percent in ((2, 60.0), (1, 50.0), (10, 70.0)):
            trial.report(percent, epoch)

    assert stored.after(report).curve == (50.0, 60.0, 70.0)


def test_only_a_complete_trial_has_a_value(stored: Stored) -> None:
    """Optuna takes the last accuracy of a pruned trial for its value."""
    for state in (TrialState.PRUNED, TrialState.COMPLETE):
        running = stored.study.ask()
        running.report(50.0, 1)
        stored.study.tell(running, 1.0 if state is TrialState.COMPLETE else None, state=state)
    assert stored.study.trials[0].value == 50.0
    given_up, done = stored.read()
    assert (given_up.value, given_up.is_complete) == (None, False)
    assert (done.value, done.is_complete) == (1.0, True)
    assert done.start is not None and done.end is not None and done.start <= done.end


@pytest.mark.parametrize("violation", [-1.0, 0.0, 0.1])
def test_feasible_and_predicted_feasible_are_two_things(violation: float) -> None:
    known = records(
        complete(1.0, constraint_violation=violation, predicted_violation=-violation - 0.05),
        pruned(EndReason.OUT_OF_REACH, predicted_violation=violation),
        trial(TrialState.RUNNING, evaluation=evaluation(constraint_violation=violation)),
    )
    assert [record.is_feasible for record in known] == [violation <= 0, False, False]
    assert [record.is_predicted_feasible for record in known] == [violation > -0.05, False, False]


@pytest.mark.parametrize(
    ("reason", "stage"),
    [
        (EndReason.MAC_BOUND, Stage.BOUND),
        (EndReason.SLOWER_ARCHITECTURE, Stage.ARCHITECTURE),
        (EndReason.OUT_OF_REACH, Stage.TRAINING),
        (EndReason.OUT_OF_TIME, None),
        (EndReason.DUPLICATE, None),
    ],
)
def test_the_stage_that_rejected_a_candidate(reason: EndReason, stage: Stage | None) -> None:
    rejected, fault = records(pruned(reason), failed(reason))
    assert (rejected.pruned_at, fault.pruned_at) == (stage, None)


def test_what_the_sampler_learns_from_is_the_predicted_violation() -> None:
    known = [complete(1.0, predicted_violation=0.5), pruned(EndReason.OUT_OF_REACH, predicted_violation=3.0), waiting()]
    assert [predicted_violation_of(each) for each in known] == [0.5, 3.0, 0.0]


def test_the_speed_of_a_candidate_depends_on_architecture_scheme_and_threads() -> None:
    assert speed_key(replace(SPEC, epochs=99, parent=None, learning_rate=0.01)) == speed_key(SPEC)
    for other in (replace(SPEC, stem_stride=4), replace(SPEC, quantization="qat_int8"), replace(SPEC, threads=1)):
        assert speed_key(other) != speed_key(SPEC)


def test_a_factory_gives_what_a_running_trial_writes(stored: Stored) -> None:
    """The made-up trials of other tests are as real ones."""

    def write(trial: optuna.Trial) -> None:
        record_worker(trial, "pi:8")
        record_spec(trial, SPEC)
        record_phases(trial, PHASES)
        record_architecture(trial, architecture(0.02))
        record_evaluation(trial, evaluation(0.02), {"model.tflite": "0a"}, "key")

    stored.after(write)
    assert stored.study.trials[0].user_attrs == trial_attributes(
        worker="pi:8",
        spec=SPEC,
        phases=PHASES,
        architecture=architecture(0.02),
        evaluation=evaluation(0.02, measurement=measured(0.02)),
        artifacts={"model.tflite": "0a"},
        weights_key="key",
    )
