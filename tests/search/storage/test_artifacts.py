"""A study that several hosts share has one place for its models, which each of them must reach before it works.

A "host" is a runs folder of its own, with its own cache, on a real PostgreSQL; a place that is out of reach for it is
one that is not there.
"""

import errno
import shutil
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import squares
from dry_runs import records_of, start, write_dry_run
from hasty import HASTY
from optuna.artifacts import FileSystemArtifactStore
from postgres import Postgres
from squares import refused, thrones

from compress.datasets.load import load
from compress.errors import UsageError
from edge.measuring.plan import PLANS
from search.config import StudyConfig, load_config
from search.runner.study import run_study
from search.storage.artifacts import check_place, place_of, read_artifact, record_artifacts_place
from search.storage.migrate import copy_studies
from search.storage.open_storage import load_study
from search.storage.study_record import record_of
from search.storage.trial_record import MODEL, read_trials
from search.strategy.ranking import best_trial


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, plan in HASTY.items():
        monkeypatch.setitem(PLANS, name, plan)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


def _place_of(config: StudyConfig) -> str | None:
    """Return where the study says that its artifacts are."""
    place = record_of(load_study(config)).artifacts
    return None if place is None else place.place


def work_elsewhere(folder: Path, study: str, runs: str, *options: str) -> None:
    """One worker, in a process of its own and with a runs folder of its own, to its end."""
    if not (folder / runs).exists():
        squares.lend_base(folder, folder / runs)
    ended = thrones("worker", study, "--runs", runs, *options, folder=folder)
    assert ended.returncode == 0, ended.stderr


def dry_run_of(folder: Path, name: str, trials: int = 2, **options: str) -> StudyConfig:
    """Return a dry run that has ended in `folder`."""
    path = write_dry_run(folder, trials=trials).rename(folder / f"{name}.toml")
    given = [text for name, value in options.items() for text in (f"--{name}", value)]
    run = start("run", path.name, *given, folder=folder)
    said, _ = run.communicate(timeout=100)
    assert run.returncode == 0, said
    return load_config(path, folder / "runs").model_copy(update=options)


@pytest.mark.slow
def test_what_a_worker_finds_elsewhere_the_runner_closes_the_study_with(squares_copy: Path, postgres: Postgres) -> None:
    path = squares.write_study(squares_copy / "shared.toml", squares.SMALL, trials=1)
    config = squares.read(path).model_copy(update={"storage": postgres.url})
    data = load(str(squares_copy / "squares.npz"))
    where = ("--storage", postgres.url)
    study = run_study(
        config, data, squares.silent(), lambda *_: work_elsewhere(squares_copy, path.name, "elsewhere", *where)
    )
    comparison = record_of(study).final_comparison
    assert comparison is not None
    best = best_trial(read_trials(study), config.road, comparison.values)
    assert best is not None and best.evaluation is not None
    assert comparison.trial == best.number == 0
    out = thrones("best", path.name, *where, "--runs", "third", "--out", "m.tflite", folder=squares_copy)
    assert out.returncode == 0, out.stderr
    found = sha256((squares_copy / "m.tflite").read_bytes()).hexdigest()
    assert found == best.evaluation.sha256
    assert not (squares_copy / "elsewhere" / "shared" / "artifacts").exists()
    assert not (squares_copy / "third" / "shared" / "artifacts").exists()


@pytest.mark.slow
def test_a_worker_that_cannot_reach_the_models_is_refused_before_it_trains(tmp_path: Path, postgres: Postgres) -> None:
    config = dry_run_of(tmp_path, "apart", storage=postgres.url)
    before = records_of(config)
    place = tmp_path / "runs" / "apart" / "artifacts"
    place.rename(tmp_path / "models")  # on a disk of another host, as this one sees it
    worker = ("worker", "apart.toml", "--storage", postgres.url, "--runs", "elsewhere")
    line = refused(*worker, folder=tmp_path)
    assert f"the models of apart are in {place} on " in line
    assert "cannot read them" in line
    assert "--artifacts with a folder that they share, or s3://BUCKET" in line
    line = refused(*worker, "--artifacts", "other", folder=tmp_path)
    assert f"artifacts {tmp_path / 'other'} on " in line
    assert f"do not hold the models of apart, which are in {place} on " in line
    assert not (tmp_path / "other").exists()
    assert "the models of apart are in" in refused("run", "apart.toml", "--storage", postgres.url, folder=tmp_path)
    assert records_of(config) == before
    # Named, they are found, and `run` tells the others.
    again = start("run", "apart.toml", "--storage", postgres.url, "--artifacts", "models", folder=tmp_path)
    said, _ = again.communicate(timeout=100)
    assert again.returncode == 0, said
    assert _place_of(config) == str(tmp_path / "models")
    assert place_of(load_study(config), config) == str(tmp_path / "models")


@pytest.mark.slow
def test_a_moved_runs_folder_goes_on_and_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    before = record_of(load_study(dry_run_of(tmp_path / "old", "moving"))).artifacts
    assert before is not None
    (tmp_path / "old").rename(tmp_path / "new")
    config = load_config(tmp_path / "new" / "moving.toml", tmp_path / "new" / "runs")
    study = load_study(config)
    assert Path(place_of(study, config)) == config.folder / "artifacts"
    record_artifacts_place(study, config)
    assert record_of(study).artifacts == replace(before, place=str(config.folder / "artifacts"))


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = dry_run_of(tmp_path, "readonly")

    def write(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(FileSystemArtifactStore, "write", write)
    assert place_of(load_study(config), config)  # who only reads goes on
    with pytest.raises(UsageError, match=r"cannot be written \(Read-only file system\).*s3://BUCKET") as caught:
        check_place(config)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_trying_a_place_leaves_nothing_behind(tmp_path: Path) -> None:
    config = dry_run_of(tmp_path, "clean")
    before = sorted((config.folder / "artifacts").iterdir())
    check_place(config)
    assert sorted((config.folder / "artifacts").iterdir()) == before


@pytest.mark.slow
def test_a_copied_study_knows_where_its_artifacts_were_copied_to(squares_copy: Path, tmp_path: Path) -> None:
    folder = squares_copy / "runs" / "squares"
    source = f"sqlite:///{folder / 'study.db'}"
    before = load_study(squares.read(squares_copy / "squares.toml"))
    plain, whole = (f"sqlite:///{tmp_path / name}.db" for name in ("plain", "whole"))
    list(copy_studies(source, plain, None, None))
    list(copy_studies(source, whole, None, (str(folder / "artifacts"), str(tmp_path / "models"))))
    config = load_config(squares_copy / "squares.toml", tmp_path / "elsewhere")
    kept = load_study(config.model_copy(update={"storage": plain}))
    assert record_of(before).artifacts is not None
    assert record_of(kept).artifacts == record_of(before).artifacts
    shutil.rmtree(folder / "artifacts")
    moved = config.model_copy(update={"storage": whole})
    record = read_trials(before)[2]
    assert record.evaluation is not None
    assert sha256(read_artifact(moved, record.artifacts[MODEL])).hexdigest() == record.evaluation.sha256


@pytest.mark.slow
def test_the_dashboard_shows_a_study_whose_models_are_out_of_reach(tmp_path: Path) -> None:
    config = dry_run_of(tmp_path, "seen")
    (config.folder / "artifacts").rename(tmp_path / "away")
    shown = start("dashboard", "seen.toml", "--port", "0", folder=tmp_path, PYTHONUNBUFFERED="1")
    try:
        assert shown.stdout is not None
        assert "nothing to download: the models of seen are in" in shown.stdout.readline()
        assert "/dashboard/studies/" in shown.stdout.readline()
    finally:
        shown.kill()
        shown.communicate()
