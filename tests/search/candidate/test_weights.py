"""Whose weights a worker continues from: it fetches what another host has trained; what it cannot get is no parent."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from hasty import HASTY
from optuna.artifacts import FileSystemArtifactStore
from record_factories import evaluation, measured
from squares import silent

from compress.spec import CompressionSpec
from compress.training.train import Epoch
from edge.errors import UnavailableError
from search.candidate.calibration import Speed
from search.candidate.context import TrialContext
from search.candidate.train_candidate import train_candidate
from search.candidate.weights import (
    TrainedWeights,
    cached_npz,
    fetch_weights,
    shareable_npz,
    shared_specs,
    trained_before,
)
from search.config import StudyConfig
from search.evaluation import EndReason, Rejection
from search.runner.trial import record_candidate
from search.storage.cache import Cache
from search.storage.trial_record import TrialRecord, read_trials, record_spec
from search.strategy.task import Incumbent, Requirements, Task

OLDEST = CompressionSpec(dropped_blocks=tuple(range(3, 13)), stem_stride=4, epochs=4)
PARENT = replace(OLDEST, pruning_ratios=(0.1,) * 14, epochs=3, parent=OLDEST)
CHILD = replace(OLDEST, pruning_ratios=(0.2,) * 14, epochs=8, parent=PARENT)
BEST = Incumbent(7, 0.010, OLDEST, 71.0)


class Clock:
    """Seconds that pass only when a training makes them pass."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Trainings of ten seconds an epoch, in which nothing is trained."""
    clock = Clock()

    def train(
        context: TrialContext, spec: CompressionSpec, first: Any, on_epoch: Callable[[Epoch], None]
    ) -> list[Any]:
        for number in range(1, spec.epochs + 1):
            clock.now_s += 10
            on_epoch(Epoch(number, 1.0, 60.0))
        return [np.full(3, spec.all_epochs)]

    monkeypatch.setattr("search.candidate.train_candidate.time", SimpleNamespace(monotonic=clock.monotonic))
    monkeypatch.setattr("search.candidate.train_candidate.fine_tune", train)
    for name in ("inherit", "resize"):
        monkeypatch.setattr(f"search.candidate.train_candidate.{name}", lambda *_: [])
    return clock


def context_at(folder: Path) -> TrialContext:
    """Return a context with a cache and artifacts in `folder`, for trainings that are none."""
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    nothing: Any = None
    return TrialContext(
        config=StudyConfig(name="test", road="latency", folder=folder),
        progress=silent(),
        parent_pid=None,
        data=SimpleNamespace(key="nothing"),  # type: ignore[arg-type]
        base=[],
        base_key="base",
        base_model=b"",
        base_speed=Speed(1.0, 1.0, None),
        constraint_percent=50.0,
        required_percent=50.0,
        plan=HASTY["search"],
        converter=nothing,
        device=nothing,
        device_kind={},
        cache=Cache(folder / "cache"),
        artifacts=FileSystemArtifactStore(folder / "artifacts"),
        training_place=nothing,
        teacher_logits=nothing,
    )


def task_of(
    spec: CompressionSpec,
    deadline_s: float,
    *,
    has_incumbent: bool = True,
    records: list[TrialRecord] | None = None,
) -> Task:
    incumbent = BEST if has_incumbent else None
    return Task(spec, Requirements(50.0, 50.0, deadline_s), incumbent, stops_training=True, records=records or [])


def train(context: TrialContext, task: Task) -> tuple[list[str], TrainedWeights | Rejection]:
    """Train; return the phases that were shown, and what came of it."""
    shown: list[str] = []
    context.progress.trial(0, lambda status: shown.append(status.text))
    found = train_candidate(task, context, lambda percent, epoch: None)
    return shown, found


def rejection_of(found: TrainedWeights | Rejection) -> Rejection:
    assert isinstance(found, Rejection)
    return found


def test_the_deadline_holds_for_parents_which_are_shown_as_such(tmp_path: Path, clock: Clock) -> None:
    context = context_at(tmp_path)
    shown, found = train(context, task_of(CHILD, 35.0))
    assert shown == ["choosing", "training a parent, epoch 0/4", "training a parent, epoch 1/4, 60.0 %"]
    assert rejection_of(found).reason is EndReason.OUT_OF_TIME
    assert rejection_of(found).message == "out of time: its training would end 5 s too late"
    assert clock.now_s == 10
    # A parent that ends in time is trained, and kept; the second one does not.
    shown, found = train(context, task_of(CHILD, 60.0))
    assert shown[-1] == "training a parent, epoch 1/3, 60.0 %"
    assert rejection_of(found).message == "out of time: its training would end 20 s too late"
    assert cached_npz(context, OLDEST) is not None
    assert cached_npz(context, PARENT) is None
    # The candidate's own time is not counted from where its parents' began.
    shown, found = train(context, task_of(CHILD, clock.now_s + 110.5))
    assert shown[1] == "training a parent, epoch 0/3"
    assert "training, epoch 8/8, 60.0 %" in shown
    assert isinstance(found, TrainedWeights) and found.curve == (60.0,) * 8


def test_without_a_feasible_candidate_parents_are_trained_past_the_deadline(tmp_path: Path, clock: Clock) -> None:
    shown, _ = train(context_at(tmp_path), task_of(CHILD, 5.0, has_incumbent=False))
    assert "training, epoch 8/8, 60.0 %" in shown
    assert clock.now_s == 150


def test_what_the_cache_has_is_reported_epoch_by_epoch_and_no_longer_judged(tmp_path: Path, clock: Clock) -> None:
    context = context_at(tmp_path)
    train(context, task_of(OLDEST, 1e9))
    reported: list[tuple[float, int]] = []
    task = replace(task_of(OLDEST, -1.0), requirements=Requirements(99.0, 99.0, -1.0))
    found = train_candidate(task, context, lambda percent, epoch: reported.append((percent, epoch)))
    assert isinstance(found, TrainedWeights)
    assert reported == [(60.0, epoch) for epoch in (1, 2, 3, 4)]


def records_after(context: TrialContext, spec: CompressionSpec) -> list[TrialRecord]:
    """Return the records of a study with one trained candidate, whose weights are among the artifacts."""
    study = optuna.create_study()
    trial = study.ask()
    record_spec(trial, spec)
    record_candidate(trial, task_of(spec, 1e9), context, evaluation(1.0, measurement=measured(1.0)))
    study.tell(trial, 1.0)
    return read_trials(study)


def other_cache(context: TrialContext, folder: Path) -> TrialContext:
    """Return the context of another host, which reaches the same artifacts."""
    return replace(context, cache=Cache(folder / "other"))


def test_a_candidate_s_nearest_parent_is_fetched(tmp_path: Path, clock: Clock) -> None:
    context = context_at(tmp_path)
    train(context, task_of(PARENT, 1e9))
    known = records_after(context, replace(PARENT, quantization="int8", io_dtype="int8"))
    other = other_cache(context, tmp_path)
    assert [spec.parent for spec in shared_specs(other, known)] == [OLDEST]
    fetch_weights(other, known, CHILD)
    assert cached_npz(other, PARENT) == cached_npz(context, PARENT) is not None
    began_s = clock.now_s
    train(other, task_of(CHILD, 1e9, records=known))
    assert clock.now_s == began_s + 80  # its own epochs alone
    assert sorted(spec.all_epochs for spec in trained_before(other)) == [PARENT.all_epochs, CHILD.all_epochs]


def test_a_training_fetches_for_itself(tmp_path: Path, clock: Clock) -> None:
    context = context_at(tmp_path)
    train(context, task_of(PARENT, 1e9))
    known = records_after(context, PARENT)
    began_s = clock.now_s
    train(other_cache(context, tmp_path), task_of(CHILD, 1e9, records=known))
    assert clock.now_s == began_s + 80


@pytest.mark.parametrize("what", ["gone", "damaged", "large", "made otherwise"])
def test_weights_that_cannot_be_had_are_trained(
    what: str, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_at(tmp_path)
    train(context, task_of(PARENT, 1e9))
    if what == "large":
        monkeypatch.setattr("search.candidate.weights.MAX_SHARED_BYTES", 100)
    assert (shareable_npz(context, PARENT) is None) is (what == "large")
    known = records_after(context, PARENT)
    other = other_cache(context, tmp_path)
    for path in (tmp_path / "artifacts").iterdir():
        if what == "gone":
            path.unlink()
        if what == "damaged":
            path.write_bytes(path.read_bytes()[:-80])
    if what == "made otherwise":
        other = replace(other, base_key="another")
        assert other.weights_key != context.weights_key
    assert bool(shared_specs(other, known)) == (what in ("gone", "damaged"))
    fetch_weights(other, known, CHILD)
    assert cached_npz(other, PARENT) is None
    began_s = clock.now_s
    train(other, task_of(CHILD, 1e9, records=known))
    assert clock.now_s == began_s + 150


def test_artifacts_that_cannot_be_read_for_a_while_are_the_test_bench_s_fault(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_at(tmp_path)
    train(context, task_of(PARENT, 1e9))
    known = records_after(context, PARENT)

    def stale(*_: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(FileSystemArtifactStore, "open_reader", stale)
    with pytest.raises(UnavailableError, match="weights of trial 0 cannot be read: .*Stale file handle"):
        fetch_weights(other_cache(context, tmp_path), known, CHILD)


def test_a_worker_s_number_of_threads_makes_no_other_weights(tmp_path: Path) -> None:
    context = context_at(tmp_path)
    training = context.config.training.model_copy(update={"threads": 3})
    other = replace(context, config=context.config.model_copy(update={"training": training}))
    assert other.weights_key == context.weights_key
    training = context.config.training.model_copy(update={"batch_size": 3})
    other = replace(context, config=context.config.model_copy(update={"training": training}))
    assert other.weights_key != context.weights_key
