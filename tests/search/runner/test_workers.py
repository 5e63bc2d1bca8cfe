"""Many workers of one study, as real processes on a real storage: what they do together, and what a kill costs."""

import os
import platform
import signal
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import submitit
from dry_runs import kill, read, records_of, start, until, workers_of, write_dry_run
from optuna.trial import TrialState
from postgres import Postgres
from squares import refused, silent

from compress.errors import UsageError
from search.config import StudyConfig, load_config
from search.runner.launchers.processes import worker_command
from search.runner.launchers.slurm import run_submitted, slurm_executor, slurm_options
from search.storage.trial_record import TrialRecord

pytestmark = pytest.mark.slow

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


def _well(records: list[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.state in (COMPLETE, PRUNED)]


def test_three_workers_share_one_sqlite_file(tmp_path: Path) -> None:
    write_dry_run(tmp_path, trials=20, train_s=0.2)
    run = start("run", "dry_run.toml", "--workers", "3", folder=tmp_path)
    said, _ = run.communicate(timeout=300)
    assert run.returncode == 0, said
    records = records_of(read(tmp_path))
    assert 20 <= len(records) <= 22  # a trial more for each of the other workers
    assert _well(records) == records
    assert len(Counter(record.worker for record in records)) == 3
    assert "[3] trial" in said


def test_a_killed_worker_costs_its_trial_which_is_tried_again(tmp_path: Path) -> None:
    write_dry_run(tmp_path, trials=8, train_s=4.0)
    run = start("run", "dry_run.toml", "--workers", "2", folder=tmp_path)
    config = read(tmp_path)
    until(lambda: _running(config))
    (victim, number), *_ = _running(config).items()
    kill(int(victim.split(":")[1]))
    said, _ = run.communicate(timeout=400)
    assert run.returncode == 0, said
    assert "was killed (SIGKILL); started again (1 of 3)" in said
    records = records_of(config)
    assert records[number].state == FAIL
    (second,) = [record for record in records if record.retry_of == number]
    assert second.state in (COMPLETE, PRUNED)
    assert [record.number for record in records if record.state == FAIL] == [number]
    assert 8 <= len(_well(records)) <= 9


def _running(config: StudyConfig) -> dict[str, int]:
    """Return worker and number of each running trial; none of a study that is not there yet."""
    try:
        records = records_of(config)
    except UsageError:
        return {}
    running = [record for record in records if record.state is TrialState.RUNNING]
    return {record.worker: record.number for record in running if record.worker is not None}


def test_workers_end_after_their_trial_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    write_dry_run(tmp_path, trials=50, train_s=1.0)
    run = start("run", "dry_run.toml", "--workers", "2", folder=tmp_path)
    config = read(tmp_path)
    until(lambda: len(_running(config)) == 2)
    pids = workers_of(run)
    kill(run.pid)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    records = records_of(config)
    assert _well(records) == records  # nothing was lost, and nothing is left running


def test_a_database_that_is_gone_for_a_while_costs_the_running_trials_at_most(
    tmp_path: Path, postgres: Postgres
) -> None:
    write_dry_run(tmp_path, trials=10, train_s=2.0)
    run = start("run", "dry_run.toml", "--workers", "2", "--storage", postgres.url, folder=tmp_path)
    config = read(tmp_path, postgres.url)
    until(lambda: len(_running(config)) == 2)
    postgres.kill()
    postgres.start()
    said, _ = run.communicate(timeout=400)
    assert run.returncode == 0, said
    records = records_of(config)
    lost = {record.number for record in records if record.state == FAIL}
    assert len(lost) <= 2
    assert {record.retry_of for record in records if record.retry_of is not None} == lost
    assert 10 <= len(_well(records)) <= 11


def test_one_more_worker_joins_by_hand_and_a_stranger_is_refused(tmp_path: Path, postgres: Postgres) -> None:
    path = write_dry_run(tmp_path, trials=16, train_s=2.0, device="fake://two")
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
    device = ("--device", "fake://x?cpu=other")
    words = refused("worker", "joined.toml", "--storage", postgres.url, *device, folder=tmp_path)
    assert "another kind of device" in words
    assert run.wait(timeout=300) == 0
    assert worker.wait(timeout=100) == 0
    workers = Counter(record.worker for record in records_of(config))
    assert workers.keys() == {f"{platform.node()}:{process.pid}" for process in (run, worker)}


def test_a_worker_of_a_study_that_nobody_began_is_refused(tmp_path: Path) -> None:
    write_dry_run(tmp_path, trials=3)
    assert "start the study with `thrones run`" in refused("worker", "dry_run.toml", folder=tmp_path)


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
    write_dry_run(tmp_path, trials=6, train_s=0.2, device="fake://three").rename(tmp_path / "submitted.toml")
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
def test_workers_that_cannot_work_are_refused(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    write_dry_run(tmp_path, trials=3)
    assert words in refused("run", "dry_run.toml", *options, folder=tmp_path)


def test_ctrl_c_ends_all_workers(tmp_path: Path) -> None:
    write_dry_run(tmp_path, trials=50, train_s=3.0)
    run = start("run", "dry_run.toml", "--workers", "2", folder=tmp_path)
    config = read(tmp_path)
    until(lambda: len(_running(config)) == 2)
    pids = workers_of(run)
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    waiting = [record for record in records_of(config) if record.state is TrialState.WAITING]
    assert len(waiting) == 2  # the two are enqueued again
