"""Weights that one host has trained and another one continues from, with real trainings on a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import squares
from hasty import HASTY
from postgres import Postgres
from record_factories import forget_weights
from squares import load_config, silent

from compress.datasets.load import load
from compress.spec import CompressionSpec
from edge.measuring.plan import PLANS
from search.candidate import train_candidate as training
from search.candidate.context import TrialContext
from search.objective import Objective
from search.runner.study import run_study
from search.storage.migrate import copy_studies
from search.storage.open_storage import load_study
from search.storage.trial_record import TrialRecord, read_trials
from search.strategy.warm_start import weights_only

THINNER = squares.SMALL.replace("pruning_ratios = 0.0", "pruning_ratios = 0.2")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def fine_tuned(monkeypatch: pytest.MonkeyPatch) -> list[CompressionSpec]:
    """Return what is trained, in this order: for real, and whether or not it can win, as a busy machine must not
    decide that."""
    done: list[CompressionSpec] = []
    real = training.fine_tune

    def spy(context: TrialContext, spec: CompressionSpec, *rest: Any) -> Any:
        done.append(spec)
        return real(context, spec, *rest)

    monkeypatch.setattr("search.candidate.train_candidate.fine_tune", spy)
    monkeypatch.setattr(Objective, "is_better", lambda *_: True)
    for name, plan in HASTY.items():
        monkeypatch.setitem(PLANS, name, plan)
    return done


def on_another_host(folder: Path, storage: str) -> TrialRecord:
    """Return the fifth trial of the finished study, run with other threads and a runs folder and a cache of its own."""
    path = squares.write_study(folder / "squares.toml", THINNER, trials=5)
    if not (folder / "elsewhere").exists():
        squares.lend_base(folder, folder / "elsewhere")
    config = load_config(path, folder / "elsewhere")
    config = config.model_copy(
        update={"storage": storage, "training": config.training.model_copy(update={"threads": 3})}
    )
    study = run_study(config, load(str(folder / "squares.npz")), silent())
    return read_trials(study)[4]


@pytest.mark.slow
def test_weights_found_on_one_host_serve_as_a_parent_on_another(
    squares_copy: Path, postgres: Postgres, fine_tuned: list[CompressionSpec]
) -> None:
    here = f"sqlite:///{squares_copy / 'runs' / 'squares' / 'study.db'}"
    list(copy_studies(here, postgres.url, "squares", None))
    small = read_trials(load_study(squares.read(squares_copy / "squares.toml")))[1]
    heir = on_another_host(squares_copy, postgres.url)
    assert heir.state.name in ("COMPLETE", "PRUNED")
    (trained,) = fine_tuned  # the heir alone
    assert small.spec is not None and heir.spec is not None
    assert trained.parent == weights_only(small.spec)
    assert heir.spec.parent == trained.parent


@pytest.mark.slow
def test_what_cannot_be_fetched_is_no_parent(squares_copy: Path, fine_tuned: list[CompressionSpec]) -> None:
    here = f"sqlite:///{squares_copy / 'runs' / 'squares' / 'study.db'}"
    forget_weights(load_study(squares.read(squares_copy / "squares.toml")))
    heir = on_another_host(squares_copy, here)
    (trained,) = fine_tuned
    assert trained.parent is None
    assert heir.spec is not None and heir.spec.parent is None
