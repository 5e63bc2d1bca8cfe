"""Storages by URL: what is refused and how, copies with artifacts, the proxy, and what is stale."""

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import boto3
import optuna
import psutil
import pytest
from dry_runs import start
from moto.server import ThreadedMotoServer
from optuna_dashboard import get_note, save_note
from optuna_dashboard._note import get_note_from_system_attrs, save_note_with_version
from squares import load_config, read, refused, thrones

from compress.errors import UsageError
from search.adapters import optuna_rdb
from search.storage.artifacts import artifacts_at, read_artifact, record_artifacts_place
from search.storage.migrate import copy_studies
from search.storage.open_storage import connection_errors, load_study, open_storage, study_exists
from search.storage.retry import count_trials, retry_stale_trial
from search.storage.study_record import record_of
from search.storage.trial_record import MODEL, read_trials
from search.storage.urls import redact_url


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("lots", "give sqlite:///FILE, postgresql://USER@HOST/DATABASE or grpc://HOST:13000"),
        ("mysql://team@db/x", "unsupported storage URL"),
        ("postgresql://team:secret@127.0.0.1:1/x", "does the server run"),
        ("postgresql://team:secret@db:many/x", "is not a valid URL: invalid literal for int() with base 10: 'many'"),
        ("postgresql+psycopg2://team:secret@db/x", "leave the driver out"),
        ("grpc://127.0.0.1:1", "thrones storage serve"),
        ("grpc://127.0.0.1:many", "grpc://HOST:13000"),
    ],
)
def test_a_storage_that_is_not_there_is_one_line(url: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.storage.open_storage.MAX_ANSWER_S", 1)
    monkeypatch.setattr(optuna_rdb, "MAX_ANSWER_S", 1)
    with pytest.raises(UsageError) as caught:
        open_storage(url)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_text("a letter, and not short: " + "x" * 5000)
    with pytest.raises(UsageError, match="file is not a database"):
        open_storage(f"sqlite:///{path}")


def test_sqlite_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disks = [SimpleNamespace(mountpoint="/", fstype="ext4"), SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: disks)
    with pytest.raises(UsageError, match=r"network file system \(nfs4\).*--storage postgresql"):
        open_storage(f"sqlite:///{tmp_path / 'runs' / 'study.db'}")


@pytest.mark.slow
def test_tables_of_an_older_optuna_are_upgraded_only_when_asked_to(squares_copy: Path) -> None:
    path = squares_copy / "runs" / "squares" / "study.db"
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    words = refused("status", "squares.toml", folder=squares_copy)
    assert "a different Optuna version made its tables" in words
    assert "thrones storage upgrade" in words
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    words = refused("storage", "upgrade", f"sqlite:///{path}", folder=squares_copy)
    assert "a newer Optuna made its tables (v99.0.0.a)" in words
    assert "nowhere.db does not exist" in refused("storage", "upgrade", "sqlite:///nowhere.db", folder=squares_copy)


@pytest.mark.slow
def test_studies_are_copied_with_their_artifacts_and_never_mixed(squares_copy: Path, tmp_path: Path) -> None:
    folder = squares_copy / "runs" / "squares"
    source, target = f"sqlite:///{folder / 'study.db'}", f"sqlite:///{tmp_path / 'copy.db'}"
    config = read(squares_copy / "squares.toml")
    before = load_study(config)
    save_note(before, "ours")
    save_note_with_version(before._storage, before._study_id, before.trials[1]._trial_id, 1, "look at this one")
    before._storage.set_study_system_attr(before._study_id, "artifacts:gone", "null")  # deleted in the dashboard
    optuna.create_study(storage=target).ask()  # so that the copies have other ids
    said = list(copy_studies(source, target, None, (str(folder / "artifacts"), str(tmp_path / "models"))))
    assert len(said) == 1
    assert said[0].startswith("squares: 4 trials and")
    copied = config.model_copy(update={"storage": target, "artifacts": str(tmp_path / "models")})
    after = load_study(copied)
    was, now = record_of(before), record_of(after)
    assert was.artifacts is not None and now.artifacts is not None
    assert now.artifacts.probe != was.artifacts.probe
    place = replace(was.artifacts, place=str(tmp_path / "models"), probe=now.artifacts.probe)
    assert now == replace(was, artifacts=place)
    assert read_trials(after) == read_trials(before)
    evaluated = [record for record in read_trials(after) if record.evaluation is not None]
    assert evaluated
    for record in evaluated:
        assert record.evaluation is not None
        assert sha256(read_artifact(copied, record.artifacts[MODEL])).hexdigest() == record.evaluation.sha256
    assert get_note(after) == "ours"
    assert _note_of(after, 1) == "look at this one"
    with pytest.raises(UsageError, match="has a study 'squares' already"):
        list(copy_studies(source, target, None, None))
    with pytest.raises(UsageError, match="no study 'other'; it has squares"):
        list(copy_studies(source, target, "other", None))


def _note_of(study: optuna.Study, number: int) -> str:
    attributes = study._storage.get_study_system_attrs(study._study_id)
    return get_note_from_system_attrs(attributes, study.trials[number]._trial_id)["body"]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3-compatible server on this host."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "team",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(
        Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    yield "s3://models"
    server.stop()


@pytest.mark.slow
def test_artifacts_live_in_a_bucket(squares_copy: Path, tmp_path: Path, bucket: str) -> None:
    folder = squares_copy / "runs" / "squares"
    source, target = f"sqlite:///{folder / 'study.db'}", f"sqlite:///{tmp_path / 'copy.db'}"
    list(copy_studies(source, target, "squares", (str(folder / "artifacts"), bucket)))
    out = thrones("best", "squares.toml", "--storage", target, "--artifacts", bucket, "--out", "m.tflite",
                  folder=squares_copy)  # fmt: skip
    assert out.returncode == 0, out.stderr
    best = thrones("best", "squares.toml", "--out", "n.tflite", folder=squares_copy)
    assert best.returncode == 0
    assert (squares_copy / "m.tflite").read_bytes() == (squares_copy / "n.tflite").read_bytes()
    moved = load_config(squares_copy / "squares.toml", tmp_path / "elsewhere").model_copy(update={"storage": target})
    record_artifacts_place(load_study(moved), moved)  # the copy knows its bucket, which can be written, by itself
    place = record_of(load_study(moved)).artifacts
    assert place is not None and place.place == bucket
    artifact = read_trials(load_study(moved))[2].artifacts[MODEL]
    assert read_artifact(moved, artifact) == (squares_copy / "n.tflite").read_bytes()
    line = refused("best", "squares.toml", "--artifacts", "s3://typo", "--out", "o.tflite", folder=squares_copy)
    assert "artifacts s3://typo: " in line
    assert "check the bucket's name" in line
    with pytest.raises(UsageError, match="without a path"):
        artifacts_at("s3://models/ours")


@pytest.mark.slow
def test_a_proxy_serves_a_study_and_notices_a_silent_worker(
    squares_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = f"sqlite:///{squares_copy / 'runs' / 'squares' / 'study.db'}"
    proxy = start("storage", "serve", database, "--port", "13077", folder=tmp_path)
    try:
        assert proxy.stdout is not None
        assert "serves" in proxy.stdout.readline()
        assert "in use" in refused("storage", "serve", database, "--port", "13077", folder=tmp_path)
        config = load_config(squares_copy / "squares.toml", tmp_path / "runs")
        config = config.model_copy(update={"storage": "grpc://127.0.0.1:13077"})
        assert study_exists(config)
        study = load_study(config, retry_stale_trial)
        assert len(study.trials) == 4
        trial = study.ask()
        study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
        optuna.storages.fail_stale_trials(study)
        later_s = time.monotonic() + optuna_rdb.GRACE_S + 1
        monkeypatch.setattr(time, "monotonic", lambda: later_s)
        study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
        optuna.storages.fail_stale_trials(study)
        assert study.trials[4].state == optuna.trial.TrialState.RUNNING
        monkeypatch.setattr(time, "monotonic", lambda: later_s + optuna_rdb.GRACE_S + 1)
        optuna.storages.fail_stale_trials(study)
        assert study.trials[4].state == optuna.trial.TrialState.FAIL
        records = read_trials(study)
        assert records[5].retry_of == 4
        assert count_trials(records) == 4
    finally:
        proxy.kill()


def test_passwords_are_not_shown() -> None:
    assert redact_url("postgresql://team:secret@db/thrones") == "postgresql://team:***@db/thrones"
    assert connection_errors("sqlite:///x") == ()
