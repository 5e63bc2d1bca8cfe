"""A study that several hosts share has one place for its models, which each of them must reach before it works.

A "host" is a runs folder of its own, with its own cache, on a real PostgreSQL; a place that is out of reach for it is
one that is not there.
"""

import errno
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import optuna
import pytest
import squares
from hasty import HASTY
from optuna.artifacts import FileSystemArtifactStore
from postgres import Postgres
from rehearsals import start, trials_of, write_rehearsal
from squares import refused, thrones

from compress.datasets.load import load
from compress.errors import UsageError
from edge.measuring.plan import PLANS
from search.config import StudyConfig, load_config
from search.runner.study import run_study
from search.storage.artifacts import MODEL, PLACE, check_place, place_of, read_artifact, settle
from search.storage.migrate import copy_studies
from search.storage.study_state import best_trial, load_study


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, plan in HASTY.items():
        monkeypatch.setitem(PLANS, name, plan)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


def work_elsewhere(folder: Path, study: str, runs: str, *options: str) -> None:
    """One worker, in a process of its own and with a runs folder of its own, to its end."""
    if not (folder / runs).exists():
        squares.lend_base(folder, folder / runs)
    ended = thrones("worker", study, "--runs", runs, *options, folder=folder)
    assert ended.returncode == 0, ended.stderr


def rehearsed(folder: Path, name: str, trials: int = 2, **options: str) -> StudyConfig:
    """A rehearsal that has been run in `folder`."""
    path = write_rehearsal(folder, trials=trials).rename(folder / f"{name}.toml")
    given = [text for name, value in options.items() for text in (f"--{name}", value)]
    run = start("run", path.name, *given, folder=folder)
    said, _ = run.communicate(timeout=100)
    assert run.returncode == 0, said
    return load_config(path, folder / "runs").model_copy(update=options)


def test_what_a_worker_finds_elsewhere_the_runner_closes_the_study_with(squares_copy: Path, postgres: Postgres) -> None:
    path = squares.write_study(squares_copy / "shared.toml", squares.SMALL, trials=1)
    config = squares.read(path).model_copy(update={"storage": postgres.url})
    data = load(str(squares_copy / "squares.npz"))
    where = ("--storage", postgres.url)
    study = run_study(
        config, data, squares.silent(), lambda *_: work_elsewhere(squares_copy, path.name, "elsewhere", *where)
    )
    best = best_trial(study)
    assert best is not None
    assert study.user_attrs["comparison"]["trial"] == best.number == 0
    out = thrones("best", path.name, *where, "--runs", "third", "--out", "m.tflite", folder=squares_copy)
    assert out.returncode == 0, out.stderr
    found = sha256((squares_copy / "m.tflite").read_bytes()).hexdigest()
    assert found == best.user_attrs["candidate"]["sha256"]
    assert not (squares_copy / "elsewhere" / "shared" / "artifacts").exists()
    assert not (squares_copy / "third" / "shared" / "artifacts").exists()


def test_a_worker_that_cannot_reach_the_models_is_refused_before_it_trains(tmp_path: Path, postgres: Postgres) -> None:
    config = rehearsed(tmp_path, "apart", storage=postgres.url)
    before = trials_of(config)
    place = tmp_path / "runs" / "apart" / "artifacts"
    place.rename(tmp_path / "models")  # on a disk of another host, as this one sees it
    worker = ("worker", "apart.toml", "--storage", postgres.url, "--runs", "elsewhere")
    line = refused(*worker, folder=tmp_path)
    assert f"the models of apart are kept in {place} on " in line
    assert "cannot read them" in line
    assert "--artifacts with a folder that they share, or s3://BUCKET" in line
    line = refused(*worker, "--artifacts", "other", folder=tmp_path)
    assert f"artifacts {tmp_path / 'other'} on " in line
    assert f"do not hold the models of apart, which are kept in {place} on " in line
    assert not (tmp_path / "other").exists()
    assert "the models of apart are kept in" in refused("run", "apart.toml", "--storage", postgres.url, folder=tmp_path)
    assert trials_of(config) == before
    # Named, they are found, and `run` tells the others.
    again = start("run", "apart.toml", "--storage", postgres.url, "--artifacts", "models", folder=tmp_path)
    said, _ = again.communicate(timeout=100)
    assert again.returncode == 0, said
    assert load_study(config).user_attrs[PLACE]["place"] == str(tmp_path / "models")
    assert place_of(load_study(config), config) == str(tmp_path / "models")


def test_a_moved_runs_folder_goes_on_and_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    before = load_study(rehearsed(tmp_path / "old", "moving")).user_attrs[PLACE]
    (tmp_path / "old").rename(tmp_path / "new")
    config = load_config(tmp_path / "new" / "moving.toml", tmp_path / "new" / "runs")
    study = load_study(config)
    assert Path(place_of(study, config)) == config.folder / "artifacts"
    settle(study, config)
    assert study.user_attrs[PLACE] == {**before, "place": str(config.folder / "artifacts")}


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = rehearsed(tmp_path, "readonly")

    def write(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(FileSystemArtifactStore, "write", write)
    assert place_of(load_study(config), config)  # who only reads goes on
    with pytest.raises(UsageError, match=r"cannot be written \(Read-only file system\).*s3://BUCKET") as caught:
        check_place(config)
    assert "\n" not in str(caught.value)


def test_trying_a_place_leaves_nothing_behind(tmp_path: Path) -> None:
    config = rehearsed(tmp_path, "clean")
    before = sorted((config.folder / "artifacts").iterdir())
    check_place(config)
    assert sorted((config.folder / "artifacts").iterdir()) == before


def test_a_study_that_a_former_version_began_is_read_as_before_and_learns_its_place(squares_copy: Path) -> None:
    config = squares.read(squares_copy / "squares.toml")
    study = load_study(config)
    _forget_place(study)
    assert "artifacts" not in load_study(config).user_attrs
    out = thrones("best", "squares.toml", "--out", "m.tflite", folder=squares_copy)
    assert out.returncode == 0, out.stderr
    place = config.folder / "artifacts"
    latest = [trial.user_attrs[MODEL] for trial in study.get_trials() if MODEL in trial.user_attrs][-1]
    (place / latest).rename(place / "aside")
    line = refused("run", "squares.toml", folder=squares_copy)
    assert f"lacks the latest model of squares, artifact {latest}" in line
    (place / "aside").rename(place / latest)
    run_study(config, load(str(squares_copy / "squares.npz")), squares.silent())
    assert load_study(config).user_attrs[PLACE]["place"] == str(place)


def _forget_place(study: optuna.Study) -> None:
    from sqlalchemy import text

    with study._storage._backend.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(text(f"DELETE FROM study_user_attributes WHERE key = '{PLACE}'"))


def test_a_copied_study_knows_where_its_artifacts_were_copied_to(squares_copy: Path, tmp_path: Path) -> None:
    folder = squares_copy / "runs" / "squares"
    source = f"sqlite:///{folder / 'study.db'}"
    before = load_study(squares.read(squares_copy / "squares.toml"))
    plain, whole = (f"sqlite:///{tmp_path / name}.db" for name in ("plain", "whole"))
    list(copy_studies(source, plain, None, None))
    list(copy_studies(source, whole, None, (str(folder / "artifacts"), str(tmp_path / "models"))))
    config = load_config(squares_copy / "squares.toml", tmp_path / "elsewhere")
    kept = load_study(config.model_copy(update={"storage": plain}))
    assert kept.user_attrs[PLACE] == before.user_attrs[PLACE] != {}
    shutil.rmtree(folder / "artifacts")
    moved = config.model_copy(update={"storage": whole})
    about = before.trials[2].user_attrs
    assert sha256(read_artifact(moved, about[MODEL])).hexdigest() == about["candidate"]["sha256"]


def test_the_dashboard_shows_a_study_whose_models_are_out_of_reach(tmp_path: Path) -> None:
    config = rehearsed(tmp_path, "seen")
    (config.folder / "artifacts").rename(tmp_path / "away")
    shown = start("dashboard", "seen.toml", "--port", "0", folder=tmp_path, PYTHONUNBUFFERED="1")
    try:
        assert shown.stdout is not None
        assert "nothing to download: the models of seen are kept in" in shown.stdout.readline()
        assert "/dashboard/studies/" in shown.stdout.readline()
    finally:
        shown.kill()
        shown.communicate()
