"""Studies that are begun, resumed and joined, and those that are not mixed with another one."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import squares
from record_factories import begin_as_version_1
from squares import records_of
from workers import worker

from compress.datasets.load import load
from compress.errors import UsageError
from compress.network import load_weights, save_weights
from edge.measuring.environment import read_environment
from search.candidate.calibration import Speed
from search.candidate.inputs.base_network import base_path
from search.config import StudyConfig
from search.runner.lifecycle import create_or_resume_study, join_study
from search.runner.study import run_study
from search.source_version import version
from search.storage.cache import Cache
from search.storage.open_storage import load_study, open_storage
from search.storage.study_record import StudyFacts, record_of
from search.storage.trial_record import read_trials
from search.storage.urls import storage_url

OTHERS = ("space", "training", "base", "data", "test images", "training version", "tensorflow", "kind of device")


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_plans")
@pytest.mark.parametrize("what", OTHERS)
def test_a_study_is_not_mixed_with_another(what: str, squares_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = records_of(squares_copy)
    config, data = squares.read(squares_copy / "squares.toml"), load(str(squares_copy / "squares.npz"))
    cache = Cache(squares_copy / "runs" / "cache")
    base = base_path(cache, data)
    if what == "space":
        config = config.model_copy(update={"space": config.space.model_copy(update={"pruning_ratio": (0.0, 0.97)})})
    if what == "training":
        config = config.model_copy(update={"training": config.training.model_copy(update={"batch_size": 16})})
    if what == "base":
        save_weights(base, [weight * 2 for weight in load_weights(base)])
    if what == "data":
        data = replace(data, train=(255 - data.train[0], data.train[1]))
        shutil.copy(base, base_path(cache, data))
    if what == "training version":
        monkeypatch.setattr("compress.versions.TRAINING_VERSION", 99)
    if what == "tensorflow":
        newer = {"tensorflow": "2.99"}
        monkeypatch.setattr("search.runner.study.training_versions", lambda: {"training version": 2, **newer})
        monkeypatch.setattr("search.runner.study.conversion_versions", lambda: {"conversion version": 2, **newer})
    if what == "kind of device":
        other = replace(read_environment(), simd="avx2", processor="another")
        monkeypatch.setattr("edge.devices.local.read_environment", lambda: other)
    if what == "test images":
        data = replace(data, test=(data.test[0], data.test[1][::-1]))
    with pytest.raises(UsageError, match=f"study.db was made with another {what} .*rename the study file") as caught:
        run_study(config, data, squares.silent())
    assert "\n" not in str(caught.value)
    assert records_of(squares_copy) == before


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_plans")
def test_a_study_is_not_continued_on_a_host_of_another_speed(
    squares_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = squares.read(squares_copy / "squares.toml")
    before = record_of(load_study(config))
    monkeypatch.setattr("search.candidate.context.calibrate", lambda *_: Speed(1e6, 1e6, "the base is slow"))
    with pytest.raises(UsageError, match="takes 1e\\+06 ms here now, and took .* when study squares began"):
        run_study(config, load(str(squares_copy / "squares.npz")), squares.silent())
    assert record_of(load_study(config)) == before  # and nothing was begun


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return StudyConfig(name="x", road="latency", folder=tmp_path)


def begin(config: StudyConfig, *wanted: dict[str, int], fingerprint: dict[str, str] | None = None) -> None:
    """Create or resume a study with an hour left."""
    context = replace(worker(), config=config)
    found = {"base": "0a"} if fingerprint is None else fingerprint
    create_or_resume_study(context, found, StudyFacts(data="cifar10"), wanted, time.monotonic() + 3600)


def test_a_start_that_is_there_twice_is_enqueued_once(config: StudyConfig) -> None:
    for _ in range(2):
        begin(config, {"epochs": 4}, {"epochs": 5}, {"epochs": 4})
        enqueued = [record.enqueued for record in read_trials(load_study(config))]
        assert enqueued == [{"epochs": 4}, {"epochs": 5}]


@pytest.mark.slow
def test_what_a_killed_run_left_running_is_retried_when_it_is_resumed(config: StudyConfig) -> None:
    begin(config, {"epochs": 4})
    load_study(config).ask()
    begin(config)
    lost, again = read_trials(load_study(config))
    assert (lost.state.name, lost.retried) == ("FAIL", True)
    assert (again.state.name, again.retry_of, again.enqueued) == ("WAITING", 0, {"epochs": 4})


def test_a_study_is_joined_with_the_time_that_is_left(config: StudyConfig) -> None:
    begin(config)
    study, left_s = join_study(config, {"base": "0a"})
    assert study.study_name == "x"
    assert 3590 < left_s <= 3600
    record = record_of(study)
    assert (record.version, record.fingerprint, record.facts.data) == (version(), {"base": "0a"}, "cifar10")
    assert record.artifacts is not None and Path(record.artifacts.place) == config.folder / "artifacts"


def test_a_worker_of_another_base_or_version_is_refused(config: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(config)
    with pytest.raises(UsageError, match='was made with another base \\("0a", now "0b"\\)'):
        join_study(config, {"base": "0b"})
    monkeypatch.setattr("search.runner.lifecycle.version", lambda: "0.0.1")
    with pytest.raises(UsageError, match="this is thrones 0.0.1, the study is run by .*same version on all hosts"):
        join_study(config, {"base": "0a"})


def test_a_study_of_the_former_schema_is_neither_resumed_nor_joined(config: StudyConfig) -> None:
    study = optuna.create_study(study_name="x", storage=open_storage(storage_url(config)))
    begin_as_version_1(study)
    for use in (lambda: begin(config), lambda: join_study(config, {"base": "0a"}), lambda: load_study(config)):
        with pytest.raises(UsageError, match="study 'x' has schema 1, this thrones reads schema 2") as caught:
            use()
        assert "\n" not in str(caught.value)
    assert study.trials == []
