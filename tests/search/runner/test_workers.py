"""Many workers of one study, as real processes on a real storage: what they do together, and what a kill costs."""

import os
import platform
import signal
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import submitit
from postgres import Postgres
from rehearsals import kill, read, start, trials_of, until, workers_of, write_rehearsal
from squares import refused, silent

from compress.errors import UsageError
from search.config import StudyConfig, load_config
from search.runner.workers import run_submitted, slurm_executor, slurm_options, worker_command
from search.storage.study_state import SECOND_TRY, WORKER

COMPLETE, PRUNED, FAIL = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


def _well(trials: list[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in trials if trial.state in (COMPLETE, PRUNED)]


def test_three_workers_share_one_sqlite_file(tmp_path: Path) -> None:
    write_rehearsal(tmp_path, trials=20, train_s=0.2)
    run = start("run", "rehearsal.toml", "--workers", "3", folder=tmp_path)
    said, _ = run.communicate(timeout=300)
    assert run.returncode == 0, said
    trials = trials_of(read(tmp_path))
    assert 20 <= len(trials) <= 22  # a trial more for each of the other workers
    assert _well(trials) == trials
    assert len(Counter(trial.user_attrs[WORKER] for trial in trials)) == 3
    assert "[3] trial" in said


def test_a_killed_worker_costs_its_trial_which_is_tried_again(tmp_path: Path) -> None:
    write_rehearsal(tmp_path, trials=8, train_s=4.0)
    run = start("run", "rehearsal.toml", "--workers", "2", folder=tmp_path)
    config = read(tmp_path)
    until(lambda: _running(config))
    (victim, number), *_ = _running(config).items()
    kill(int(victim.split(":")[1]))
    said, _ = run.communicate(timeout=400)
    assert run.returncode == 0, said
    assert "was killed (SIGKILL); started again (1 of 3)" in said
    trials = trials_of(config)
    assert trials[number].state == FAIL
    (second,) = [trial for trial in trials if trial.user_attrs.get(SECOND_TRY) == number]
    assert second.state in (COMPLETE, PRUNED)
    assert [trial.number for trial in trials if trial.state == FAIL] == [number]
    assert 8 <= len(_well(trials)) <= 9


def _running(config: StudyConfig) -> dict[str, int]:
    """Worker and number of each running trial; none of a study that is not there yet."""
    try:
        trials = trials_of(config)
    except UsageError:
        return {}
    running = optuna.trial.TrialState.RUNNING
    return {t.user_attrs[WORKER]: t.number for t in trials if t.state == running and WORKER in t.user_attrs}


def test_workers_end_after_their_trial_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    write_rehearsal(tmp_path, trials=50, train_s=1.0)
    run = start("run", "rehearsal.toml", "--workers", "2", folder=tmp_path)
    config = read(tmp_path)
    until(lambda: len(_running(config)) == 2)
    pids = workers_of(run)
    kill(run.pid)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    trials = trials_of(config)
    assert _well(trials) == trials  # nothing was lost, and nothing is left running


def test_a_database_that_is_gone_for_a_while_costs_the_running_trials_at_most(
    tmp_path: Path, postgres: Postgres
) -> None:
    write_rehearsal(tmp_path, trials=10, train_s=2.0)
    run = start("run", "rehearsal.toml", "--workers", "2", "--storage", postgres.url, folder=tmp_path)
    config = read(tmp_path, postgres.url)
    until(lambda: len(_running(config)) == 2)
    postgres.kill()
    postgres.start()
    said, _ = run.communicate(timeout=400)
    assert run.returncode == 0, said
    trials = trials_of(config)
    lost = [trial for trial in trials if trial.state == FAIL]
    assert len(lost) <= 2
    assert {trial.user_attrs[SECOND_TRY] for trial in trials if SECOND_TRY in trial.user_attrs} == {
        trial.number for trial in lost
    }
    assert 10 <= len(_well(trials)) <= 11


def test_one_more_worker_joins_by_hand_and_a_stranger_is_refused(tmp_path: Path, postgres: Postgres) -> None:
    path = write_rehearsal(tmp_path, trials=16, train_s=2.0, device="fake://two")
    path = path.rename(tmp_path / "joined.toml")
    run = start("run", "joined.toml", "--storage", postgres.url, folder=tmp_path)
    config = load_config(path, tmp_path / "runs").model_copy(update={"storage": postgres.url})
    until(lambda: _running(config))
    worker = start("worker", "joined.toml", "--storage", postgres.url, folder=tmp_path)
    other = tmp_path / "elsewhere" / "joined.toml"
    other.parent.mkdir()
    other.write_text(path.read_text().replace("train_s = 2.0", "train_s = 3.0"))
    words = refused("worker", "joined.toml", "--storage", postgres.url, folder=other.parent)
    assert "another dry_run" in words
    board = ("--device", "fake://x?cpu=other")
    words = refused("worker", "joined.toml", "--storage", postgres.url, *board, folder=tmp_path)
    assert "another kind of board" in words
    assert run.wait(timeout=300) == 0
    assert worker.wait(timeout=100) == 0
    workers = Counter(trial.user_attrs[WORKER] for trial in trials_of(config))
    assert workers.keys() == {f"{platform.node()}:{process.pid}" for process in (run, worker)}


def test_a_worker_of_a_study_that_nobody_began_is_refused(tmp_path: Path) -> None:
    write_rehearsal(tmp_path, trials=3)
    assert "start the study with `thrones run`" in refused("worker", "rehearsal.toml", folder=tmp_path)


def test_sbatch_is_given_what_the_user_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f"#!/bin/sh\ncp \"$1\" {tmp_path}/submitted.sh\necho Submitted batch job 4711\n")
    for program in (sbatch, sbatch.with_name("srun")):
        program.touch()
        program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    executor = slurm_executor(tmp_path / "slurm", slurm_options("partition=gtx,time=4:00:00,reservation=ours"))
    command = worker_command(Path("studies/fom.toml"), ["--storage", "postgresql://db/thrones"])
    with executor.batch():
        jobs = [executor.submit(submitit.helpers.CommandFunction(command)) for _ in range(16)]
    assert jobs[0].job_id == "4711_0"
    submitted = (tmp_path / "submitted.sh").read_text().splitlines()
    wanted = ("--partition=gtx", "--time=4:00:00", "--reservation=ours", "--job-name=thrones")
    assert {f"#SBATCH {option}" for option in wanted} <= set(submitted)
    assert any(line.startswith("#SBATCH --array=0-15") for line in submitted)


def test_submitted_workers_do_the_work(tmp_path: Path, postgres: Postgres) -> None:
    write_rehearsal(tmp_path, trials=6, train_s=0.2, device="fake://three").rename(tmp_path / "submitted.toml")
    run = start("run", "submitted.toml", "--storage", postgres.url, "--minutes", "0.01", folder=tmp_path)
    run.communicate(timeout=120)  # begins the study; the time is over at once
    words = refused("worker", "submitted.toml", "--storage", postgres.url, folder=tmp_path)
    assert "was over" in words
    executor = submitit.LocalExecutor(folder=tmp_path / "jobs")
    command = worker_command(tmp_path / "submitted.toml", ["--storage", postgres.url])
    with pytest.raises(UsageError, match="was over"):  # the reason comes back from where the job ran
        run_submitted(executor, command, 2, silent(), deadline_s=1e9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--slurm", "partition"), "not KEY=VALUE"),
        (("--slurm", "partition=gtx", "--storage", "postgresql://db/x"), "no sbatch here"),
        (("--slurm", "partition=gtx"), "--storage postgresql://"),
        (("--workers", "2", "--meter", "smartpower2:///dev/ttyUSB0"), "--meter device:"),
    ],
)
def test_a_crew_that_cannot_work_is_refused(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    write_rehearsal(tmp_path, trials=3)
    assert words in refused("run", "rehearsal.toml", *options, folder=tmp_path)


def test_ctrl_c_ends_all_workers(tmp_path: Path) -> None:
    write_rehearsal(tmp_path, trials=50, train_s=3.0)
    run = start("run", "rehearsal.toml", "--workers", "2", folder=tmp_path)
    config = read(tmp_path)
    until(lambda: len(_running(config)) == 2)
    pids = workers_of(run)
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    waiting = optuna.trial.TrialState.WAITING
    assert sum(trial.state == waiting for trial in trials_of(config)) == 2  # the two are asked for again
