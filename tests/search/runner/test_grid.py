"""Grid studies: Tables 1 and 2, run for real on images that are soon learnt."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import squares
from conftest import Finished
from grid_study import DISTRIBUTIONS
from hasty import HASTY
from paths import STUDIES
from record_factories import complete, records
from squares import records_of
from workers import worker

from compress.datasets.load import load
from compress.errors import UsageError
from edge.measuring.plan import PLANS
from edge.runtime.tflite import predict
from search.config import load_config
from search.config_sections import Grid
from search.evaluation import EndReason, Rejected
from search.runner.grid import run_row
from search.runner.study import run_study
from search.storage.open_storage import open_storage
from search.storage.trial_history import TrialHistory
from search.storage.trial_record import MODEL, read_trials
from search.strategy.grid_space import grid_rows, is_current, row_of, suggest_row

GRID = """
[grid]
pruning_ratio = [0.9, 0.0]
epochs = [0, 1, 2]
"""
SHOWN_NOWHERE = (
    "m1.toml: in [grid]: no table shows quantization int8, float32: Table 1 is about float32 alone, Table 2 about "
    "dynamic and any others beside it; add dynamic"
)


@pytest.fixture(autouse=True, scope="module")
def _hasty() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, plan in HASTY.items():
            patch.setitem(PLANS, name, plan)
        yield


@pytest.fixture(scope="module")
def ran(finished: Finished, tmp_path_factory: pytest.TempPathFactory, _hasty: None) -> Path:
    """Return a folder with the grid, run to its end as m1; for reading."""
    folder = Path(shutil.copytree(finished.folder, tmp_path_factory.mktemp("grid") / "squares"))
    run_study(squares.read(study_file(folder)), load(str(folder / "squares.npz")), squares.silent())
    return folder


@pytest.fixture
def copy(ran: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(ran, tmp_path / "squares"))


def study_file(folder: Path, grid: str = GRID, name: str = "m1") -> Path:
    path = squares.write_study(folder / f"{name}.toml", trials=9)
    path.write_text(path.read_text() + grid)
    return path


def test_the_unpruned_base_is_one_row_and_more_epochs_continue_from_fewer(tmp_path: Path) -> None:
    config = squares.read(study_file(tmp_path))
    assert config.grid is not None
    rows = grid_rows(config.grid)
    assert [(row.pruning_ratio, row.epochs) for row in rows] == [(0.0, 0), (0.9, 0), (0.9, 1), (0.9, 2)]
    specs = [
        suggest_row(optuna.trial.FixedTrial(row.params), config, config.grid)  # type: ignore[arg-type]
        for row in rows
    ]
    assert [spec.all_epochs for spec in specs] == [0, 0, 1, 2]
    assert specs[3].parent == specs[2]
    assert {len(set(spec.pruning_ratios)) for spec in specs} == {1}
    rate = config.training.learning_rate
    assert [spec.learning_rate for spec in specs[2:]] == [rate, pytest.approx(rate / 2)]  # halfway down the cosine


def test_a_row_is_current_until_its_legs_change(tmp_path: Path) -> None:
    config = squares.read(study_file(tmp_path))
    assert config.grid is not None
    for row in grid_rows(config.grid):
        spec = suggest_row(optuna.trial.FixedTrial(row.params), config, config.grid)  # type: ignore[arg-type]
        (record,) = records(complete(1.0, spec=spec, params=row.params, distributions=DISTRIBUTIONS))
        assert row_of(record) == row
        assert is_current(record, config, config.grid)
        other = config.grid.model_copy(update={"epochs": [0, 2]})
        assert is_current(record, config, other) is (row.epochs < 2)


def test_a_worker_that_finds_no_row_left_makes_none_up(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"))
    grid = Grid(pruning_ratio=[0.5], epochs=[0])
    with pytest.raises(Rejected, match="another worker took the row, and no other is left") as caught:
        run_row(study.ask(), worker(), TrialHistory(study), grid, deadline_s=0.0)
    assert caught.value.rejection.reason is EndReason.NOTHING_LEFT
    assert study.trials[0].params == {}


@pytest.mark.slow
def test_a_grid_runs_whole_continues_with_new_rows_and_repeats_none(copy: Path) -> None:
    data = load(str(copy / "squares.npz"))
    before = records_of(copy, "m1")
    assert [record.state.name for record in before] == ["COMPLETE"] * 4
    base, *_, trained = before
    for record in before:
        assert record.evaluation is not None and record.measurement is not None
        model = (copy / "runs" / "m1" / "artifacts" / record.artifacts[MODEL]).read_bytes()
        labels = predict(model, data.test[0])
        assert float((labels == data.test[1]).mean() * 100) == record.evaluation.test_accuracy_percent
        assert record.measurement.plan.name == "whole"  # the plan of a grid where its file names none
    assert base.measurement is not None and trained.measurement is not None
    assert trained.measurement.model_bytes < base.measurement.model_bytes / 20

    wide = squares.read(study_file(copy, GRID.replace("0.9,", "0.9, 0.5,")))
    wider = read_trials(run_study(wide, data, squares.silent()))
    assert wider[:4] == before
    assert [record.params["fraction"] for record in wider[4:]] == [0.5] * 3
    assert read_trials(run_study(squares.read(study_file(copy)), data, squares.silent())) == wider


@pytest.mark.slow
def test_another_scheme_of_the_same_grid_trains_nothing(copy: Path) -> None:
    data = load(str(copy / "squares.npz"))
    weights = copy / "runs" / "cache" / "weights"
    kept = sorted(weights.iterdir())
    second = study_file(copy, GRID + 'quantization = ["dynamic"]\n', "m2")
    found = read_trials(run_study(squares.read(second), data, squares.silent()))
    assert [str(record.spec.quantization) for record in found if record.spec is not None] == ["dynamic"] * 4
    assert sorted(weights.iterdir()) == kept


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("[grid]\npruning_ratio = [1.0]\nepochs = [0]", "a pruning ratio must be >= 0 and < 1, got 1.0"),
        ("[grid]\npruning_ratio = [0.5]\nepochs = [-1]", "epochs must be >= 0, got -1"),
        ("[grid]\npruning_ratio = []\nepochs = [1]", "pruning_ratio"),
        ("[grid]\npruning_ratio = [0.5]\nepochs = [1]\nepoch = [1]", 'did you mean "epochs"?'),
        ('[grid]\npruning_ratio = [0.5]\nepochs = [1]\nquantization = ["qat_int8"]', "qat_int8 trains anew"),
        ('[grid]\npruning_ratio = [0.5]\nepochs = [1]\nquantization = ["int8", "float32"]', SHOWN_NOWHERE),
        (
            '[grid]\npruning_ratio = [0.5]\nepochs = [1]\nquantization = ["float16"]',
            "no table shows quantization float16",
        ),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(grid: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        squares.read(study_file(tmp_path, grid))
    assert words in str(caught.value)


def test_the_bundled_grids_are_those_of_the_competition() -> None:
    first, second = (load_config(STUDIES / f"m{number}.toml") for number in (1, 2))
    required = Grid(pruning_ratio=[0.0, 0.05, 0.25, 0.5, 0.75, 0.9], epochs=[0, 3, 5])
    assert first.grid == required
    assert second.grid == required.model_copy(update={"quantization": ["dynamic"]})
    assert (first.training, first.measure) == (second.training, second.measure)  # so that m2 finds m1's networks
