"""Whose weights a worker goes on from: what another host has trained it fetches, what it cannot get is no parent."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
import squares
from hasty import HASTY
from optuna.artifacts import FileSystemArtifactStore
from postgres import Postgres
from squares import load_config, silent

from compress.datasets.load import load
from compress.spec import CompressionSpec
from compress.training.train import Epoch
from edge.errors import UnavailableError
from edge.measuring.plan import PLANS
from search.cache import Cache
from search.candidate import train as candidate
from search.candidate.calibration import Speed
from search.candidate.context import Bench
from search.candidate.phase_timer import Stopwatch
from search.candidate.shared_weights import WEIGHTS, attach_weights, fetch_weights, obtainable
from search.candidate.train import made_with_key, obtain, stored_weights
from search.config import StudyConfig
from search.progress import Progress
from search.runner.study import run_study
from search.storage.migrate import copy_studies
from search.storage.study_state import OUT_OF_TIME, load_study
from search.strategy.warm_start import weights_only

DROPPED = tuple(range(3, 13))
OLDEST = CompressionSpec(dropped_blocks=DROPPED, stem_stride=4, epochs=4)
PARENT = replace(OLDEST, pruning_ratios=(0.1,) * 14, epochs=3, parent=OLDEST)
CHILD = replace(OLDEST, pruning_ratios=(0.2,) * 14, epochs=8, parent=PARENT)
THINNER = squares.SMALL.replace("pruning_ratios = 0.0", "pruning_ratios = 0.2")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def fine_tuned(monkeypatch: pytest.MonkeyPatch) -> list[CompressionSpec]:
    """What is trained, in this order; for real, and whether or not it can win: a busy machine must not decide that."""
    done: list[CompressionSpec] = []
    real = candidate.fine_tune

    def spy(bench: Bench, spec: CompressionSpec, *rest: Any) -> Any:
        done.append(spec)
        return real(bench, spec, *rest)

    monkeypatch.setattr("search.candidate.train.fine_tune", spy)
    monkeypatch.setattr("search.runner.trial.is_better", lambda *_: True)
    for name, plan in HASTY.items():
        monkeypatch.setitem(PLANS, name, plan)
    return done


def on_another_host(folder: Path, storage: str) -> optuna.trial.FrozenTrial:
    """The fifth trial of the finished study, run with a runs folder and a cache of its own; other threads, too."""
    path = squares.write_study(folder / "squares.toml", THINNER, trials=5)
    if not (folder / "elsewhere").exists():
        squares.lend_base(folder, folder / "elsewhere")
    config = load_config(path, folder / "elsewhere")
    config = config.model_copy(
        update={"storage": storage, "training": config.training.model_copy(update={"threads": 3})}
    )
    return run_study(config, load(str(folder / "squares.npz")), silent()).get_trials()[4]


def test_weights_found_on_one_host_serve_as_a_parent_on_another(
    squares_copy: Path, postgres: Postgres, fine_tuned: list[CompressionSpec]
) -> None:
    here = f"sqlite:///{squares_copy / 'runs' / 'squares' / 'study.db'}"
    list(copy_studies(here, postgres.url, "squares", None))
    small = load_study(squares.read(squares_copy / "squares.toml")).get_trials()[1]
    heir = on_another_host(squares_copy, postgres.url)
    assert heir.state.name in ("COMPLETE", "PRUNED")
    (trained,) = fine_tuned  # the heir alone
    assert trained.parent == weights_only(CompressionSpec.from_dict(small.user_attrs["spec"]))
    assert CompressionSpec.from_dict(heir.user_attrs["spec"]).parent == trained.parent


def test_what_cannot_be_fetched_is_no_parent(squares_copy: Path, fine_tuned: list[CompressionSpec]) -> None:
    here = f"sqlite:///{squares_copy / 'runs' / 'squares' / 'study.db'}"
    study = load_study(squares.read(squares_copy / "squares.toml"))
    _forget(study, WEIGHTS)  # as if they had been too large
    heir = on_another_host(squares_copy, here)
    (trained,) = fine_tuned
    assert trained.parent is None
    assert heir.user_attrs["spec"]["parent"] is None


def _forget(study: optuna.Study, name: str) -> None:
    from sqlalchemy import text

    with study._storage._backend.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(text(f"DELETE FROM trial_user_attributes WHERE key = '{name}'"))


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

    def train(bench: Bench, spec: CompressionSpec, first: Any, on_epoch: Callable[[Epoch], None]) -> list[Any]:
        for number in range(1, spec.epochs + 1):
            clock.now_s += 10
            on_epoch(Epoch(number, 1.0, 60.0))
        return [np.full(3, spec.all_epochs)]

    monkeypatch.setattr("search.candidate.train.time", SimpleNamespace(monotonic=clock.monotonic))
    monkeypatch.setattr("search.candidate.train.fine_tune", train)
    for name in ("inherit", "resize"):
        monkeypatch.setattr(f"search.candidate.train.{name}", lambda *_: [])
    return clock


def bench_at(folder: Path, deadline_s: float, progress: Progress | None = None) -> Bench:
    """A bench with a cache and artifacts in `folder`, for trainings that are none."""
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    nothing: Any = None
    return Bench(
        config=StudyConfig(name="test", road="latency", folder=folder),
        data=SimpleNamespace(key="nothing"),  # type: ignore[arg-type]
        base=[],
        rule_percent=50.0,
        required_percent=50.0,
        plan=HASTY["search"],
        deadline_s=deadline_s,
        converter=nothing,
        device=nothing,
        base_model=b"",
        base_speed=Speed(1.0, 1.0, None),
        cache=Cache(folder / "cache"),
        artifacts=FileSystemArtifactStore(folder / "artifacts"),
        progress=silent() if progress is None else progress,
        parent=None,
    )


def train(bench: Bench, spec: CompressionSpec, *, has_incumbent: bool = True) -> list[str]:
    """`obtain` up to where it converts; the phases that were shown."""
    trial, shown = optuna.create_study().ask(), list[str]()
    bench.progress.trial(0, shown.append)
    with pytest.raises((optuna.TrialPruned, AttributeError)) as ended:  # there is no converter
        obtain(bench, spec, trial, Stopwatch(trial), 0.0, has_incumbent)
    return [*shown, str(ended.value)] if isinstance(ended.value, optuna.TrialPruned) else shown


def test_the_deadline_holds_for_ancestors_which_are_shown_as_such(tmp_path: Path, clock: Clock) -> None:
    shown = train(bench_at(tmp_path, deadline_s=35.0), CHILD)
    assert shown == [
        "choosing",
        "training an ancestor, epoch 0/4",
        "training an ancestor, epoch 1/4, 60.0 %",
        f"{OUT_OF_TIME}: its training would end 5 s too late",
    ]
    assert clock.now_s == 10
    # An ancestor that ends in time is trained, and kept; the second one does not.
    shown = train(bench_at(tmp_path, deadline_s=60.0), CHILD)
    assert shown[-2] == "training an ancestor, epoch 1/3, 60.0 %"
    assert shown[-1] == f"{OUT_OF_TIME}: its training would end 20 s too late"
    assert stored_weights(bench_at(tmp_path, 0.0), OLDEST) is not None
    assert stored_weights(bench_at(tmp_path, 0.0), PARENT) is None
    # The candidate's own time is not counted from where its ancestors' began.
    shown = train(bench_at(tmp_path, deadline_s=clock.now_s + 110.5), CHILD)
    assert shown[1] == "training an ancestor, epoch 0/3"
    assert "training, epoch 8/8, 60.0 %" in shown


def test_without_a_candidate_that_keeps_the_rule_ancestors_are_trained_past_the_deadline(
    tmp_path: Path, clock: Clock
) -> None:
    assert "training, epoch 8/8, 60.0 %" in train(bench_at(tmp_path, deadline_s=5.0), CHILD, has_incumbent=False)
    assert clock.now_s == 150


def told(bench: Bench, spec: CompressionSpec) -> optuna.Study:
    """A study with one trained candidate, whose weights are attached."""
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("spec", spec.to_dict())
    trial.set_user_attr("candidate", {})
    attach_weights(trial, bench, spec)
    return study


def other_cache(bench: Bench, folder: Path) -> Bench:
    """The bench of another host, which reaches the same artifacts."""
    return replace(bench, cache=Cache(folder / "other"))


def test_a_candidate_s_nearest_ancestor_is_fetched(tmp_path: Path, clock: Clock) -> None:
    bench = bench_at(tmp_path, 1e9)
    train(bench, PARENT)
    trials = told(bench, replace(PARENT, quantization="int8", io_dtype="int8")).get_trials()
    other = other_cache(bench, tmp_path)
    assert [spec.parent for spec in obtainable(other, trials)] == [OLDEST]
    fetch_weights(other, trials, CHILD)
    assert stored_weights(other, PARENT) == stored_weights(bench, PARENT)
    began_s = clock.now_s
    train(other, CHILD)
    assert clock.now_s == began_s + 80  # its own epochs alone
    assert candidate.trained_before(other)[0] in (CHILD, PARENT)


@pytest.mark.parametrize("what", ["gone", "damaged", "large", "made otherwise"])
def test_weights_that_are_not_to_be_had_are_trained(
    what: str, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_at(tmp_path, 1e9)
    train(bench, PARENT)
    if what == "large":
        monkeypatch.setattr("search.candidate.shared_weights.LARGEST_BYTES", 100)
    trials = told(bench, PARENT).get_trials()
    other = other_cache(bench, tmp_path)
    for path in (tmp_path / "artifacts").iterdir():
        if what == "gone":
            path.unlink()
        if what == "damaged":
            path.write_bytes(path.read_bytes()[:-80])
    if what == "made otherwise":
        other = replace(other, base=[np.ones(1, np.float32)])
        assert made_with_key(other) != made_with_key(bench)
    assert bool(obtainable(other, trials)) == (what in ("gone", "damaged"))
    fetch_weights(other, trials, CHILD)
    assert stored_weights(other, PARENT) is None
    began_s = clock.now_s
    train(other, CHILD)
    assert clock.now_s == began_s + 150


def test_artifacts_that_cannot_be_read_for_a_while_are_the_rig_s_fault(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_at(tmp_path, 1e9)
    train(bench, PARENT)
    trials = told(bench, PARENT).get_trials()

    def stale(*_: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(FileSystemArtifactStore, "open_reader", stale)
    with pytest.raises(UnavailableError, match="weights of trial 0 cannot be read: .*Stale file handle"):
        fetch_weights(other_cache(bench, tmp_path), trials, CHILD)


def test_a_worker_s_number_of_threads_makes_no_other_weights(tmp_path: Path) -> None:
    bench = bench_at(tmp_path, 1e9)
    training = bench.config.training.model_copy(update={"threads": 3})
    other = replace(bench, config=bench.config.model_copy(update={"training": training}))
    assert made_with_key(other) == made_with_key(bench)
