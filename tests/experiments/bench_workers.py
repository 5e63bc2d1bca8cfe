"""`make bench-workers`: what many workers cost and gain, on a real PostgreSQL, with fake devices and nothing trained.

    --only scale|overlap|large   one of the three; --trials and --workers for a quicker look
Writes studies/results/workers.csv and prints the tables.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import median

import numpy as np
import optuna
import pandas
from optuna.trial import TrialState
from paths import RESULTS
from postgres import Postgres
from rich.console import Console
from sqlalchemy import text

from search.adapters.optuna_trials import database_of
from search.config import StudyConfig, load_config
from search.evaluation import Phase, Rejected
from search.progress import Progress
from search.runner.dry_run import run_dry_run
from search.runner.launchers.processes import run_workers
from search.storage.open_storage import load_study
from search.storage.retry import count_trials
from search.storage.trial_history import TrialHistory
from search.storage.trial_record import TrialRecord, read_trials
from search.strategy.mutation import propose
from search.strategy.search_space import suggest_spec

RESULTS = RESULTS / "workers.csv"
STUDY = """road = "latency"
device = "fake://bench?seconds={seconds}"
[budget]
trials = {trials}
minutes = 600
[space]
epochs = [4, 4]
[dry_run]
train_s = {train_s}
"""


SEEDS, MORE = 400, 40
"""A large study: this many trials are run, copied until there are enough, and then this many more are run."""
RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Scale:
    """One line of the table of scale; seconds from the first trial's start to the last one's end."""

    workers: int
    trials: int
    seconds: float
    trials_per_s: float
    storage_share: float
    duplicates: int
    lost: int


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("scale", "overlap", "large"))
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--large", type=int, default=10_000)
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with Postgres() as server, tempfile.TemporaryDirectory(prefix="thrones-bench-") as folder:
        if asked.only in (None, "overlap"):
            overlap(Path(folder), server.url)
        if asked.only in (None, "scale"):
            rows = [scale(Path(folder), server.url, count, asked.trials) for count in asked.workers]
            table = pandas.DataFrame(rows)
            table.to_csv(RESULTS, index=False, float_format="%.3f", lineterminator="\n")
            print(table.to_markdown(index=False) if _has_tabulate() else table.to_string(index=False))
        if asked.only in (None, "large"):
            large(Path(folder), server.url, asked.large)


def _has_tabulate() -> bool:
    try:
        import tabulate  # noqa: F401
    except ImportError:
        return False
    return True


def _study(folder: Path, name: str, url: str, *, trials: int, seconds: float = 0, train_s: float = 0) -> StudyConfig:
    path = folder / f"{name}.toml"
    path.write_text(STUDY.format(seconds=seconds, trials=trials, train_s=train_s), encoding="utf-8")
    return load_config(path, folder / "runs").model_copy(update={"storage": url})


def _run(folder: Path, config: StudyConfig, url: str, workers: int) -> tuple[list[TrialRecord], float]:
    """Run a whole study; return its trials, and the share of the workers' time that they spent in the storage."""
    command = [sys.executable, __file__, "worker", str(folder / f"{config.name}.toml"), "--storage", url,
               "--runs", str(folder / "runs")]  # fmt: skip
    lines = StringIO()
    with Progress(Console(file=lines, width=200), 1) as progress:
        study = run_dry_run(config, progress, lambda progress, deadline_s: run_workers(command, workers, progress))
    told = [json.loads(line.partition("] ")[2]) for line in lines.getvalue().splitlines() if '"storage_s"' in line]
    share = sum(each["storage_s"] for each in told) / sum(each["seconds"] for each in told)
    return read_trials(study), share


def overlap(folder: Path, url: str, trials: int = 12, seconds: float = 20.0) -> None:
    """Run two workers with one device: the next candidate is trained while the device measures the last."""
    config = _study(folder, "overlap", url, trials=trials, seconds=seconds, train_s=seconds)
    found, _ = _run(folder, config, url, workers=2)
    measured = [each for record in found for each in record.phases if each.phase is Phase.MEASURE]
    begin = min(each.start_s for each in measured)
    end = max(each.start_s + each.seconds for each in measured)
    busy = len(measured) * seconds / (end - begin)
    print(f"overlap: {len(measured)} measurements of {seconds:g} s by 2 workers on one device, training {seconds:g} s: "
          f"the device was busy {busy:.1%} of {end - begin:.0f} s (wanted: >= 90 %)")  # fmt: skip


def scale(folder: Path, url: str, workers: int, trials: int) -> Scale:
    """Run this many workers at once on one study."""
    found, share = _run(folder, _study(folder, f"scale{workers}", url, trials=trials), url, workers)
    whole = [record for record in found if record.state.is_finished() and record.start and record.end]
    begin = min(record.start for record in whole if record.start)
    end = max(record.end for record in whole if record.end)
    seconds = (end - begin).total_seconds()
    params = [json.dumps(dict(record.params), sort_keys=True) for record in whole]
    lost = sum(record.state in (TrialState.FAIL, TrialState.RUNNING) for record in found)
    row = Scale(workers, len(whole), seconds, len(whole) / seconds, share, len(params) - len(set(params)), lost)
    print(row, flush=True)
    return row


def large(folder: Path, url: str, count: int) -> None:
    """Time one more trial of a study of this many, and its status and report."""
    config = _study(folder, "large", url, trials=SEEDS)
    _run(folder, config, url, workers=2)
    _multiply(load_study(config), count)
    study = load_study(config)
    began = time.monotonic()
    print(f"large: {len(study.get_trials(deepcopy=False)):,} trials read in {time.monotonic() - began:.1f} s")
    history = TrialHistory(study)
    each_ms = sorted(_ask_and_tell(study, history, config) for _ in range(MORE))
    print(f"large: ask + tell {median(each_ms):.0f} ms, at most {each_ms[-1]:.0f} ms (wanted: <= 150 ms)")
    path = folder / "large.toml"
    for name, times, limit_s in (("status", 5, 2), ("report", 1, 20)):
        command = [sys.executable, "-m", "search", name, str(path), "--runs", str(folder / "runs"), "--storage", url]
        took_s = []
        for _ in range(times):
            began = time.monotonic()
            subprocess.run(command, check=True, capture_output=True)
            took_s.append(time.monotonic() - began)
        print(f"large: thrones {name} {median(took_s):.2f} s, at most {max(took_s):.2f} s (wanted: <= {limit_s} s)")


def _ask_and_tell(study: optuna.Study, history: TrialHistory, config: StudyConfig) -> float:
    """Return the milliseconds for one more trial, from looking whether there may be one to the end of telling it."""
    began = time.monotonic()
    count_trials(history.records())
    propose(study, history.records(), config, RNG)
    trial = study.ask()
    with suppress(Rejected):
        suggest_spec(trial, config)
    study.tell(trial, state=TrialState.PRUNED)
    return (time.monotonic() - began) * 1e3


def _multiply(study: optuna.Study, count: int) -> None:
    """Copy a study's trials, in the database, until there are this many: running them all would take an hour."""
    trials = study.get_trials(deepcopy=False)
    fields = {
        "trial_params": "param_name, param_value, distribution_json",
        "trial_values": "objective, value, value_type",
        "trial_user_attributes": "key, value_json",
        "trial_system_attributes": "key, value_json",
        "trial_intermediate_values": "step, intermediate_value, intermediate_value_type",
    }
    with database_of(study).engine.begin() as connection:
        given = {"study": study._study_id, "seeds": len(trials), "copies": -(-count // len(trials)) - 1, "count": count}
        connection.execute(
            text(
                "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) "
                "SELECT number + copy * :seeds, study_id, state, datetime_start + copy * interval '1 hour', "
                "datetime_complete + copy * interval '1 hour' FROM trials, generate_series(1, :copies) AS copy "
                "WHERE study_id = :study AND number + copy * :seeds < :count ORDER BY copy, number"
            ),
            given,
        )
        for table, names in fields.items():
            connection.execute(
                text(
                    f"INSERT INTO {table} (trial_id, {names}) SELECT copy.trial_id, {names} FROM {table} "
                    "JOIN trials seed USING (trial_id) JOIN trials copy ON copy.study_id = :study "
                    "AND copy.number % :seeds = seed.number AND copy.number >= :seeds WHERE seed.study_id = :study"
                ),
                given,
            )


def work(arguments: Sequence[str]) -> None:
    """Be a `thrones worker` that prints at its end how long it was in the storage."""
    from sqlalchemy import Engine, event

    from search.cli.app import app

    spent = {"storage_s": 0.0}
    begun: list[float] = []

    @event.listens_for(Engine, "before_cursor_execute")
    def _before(*_: object) -> None:
        begun.append(time.monotonic())

    @event.listens_for(Engine, "after_cursor_execute")
    def _after(*_: object) -> None:
        spent["storage_s"] += time.monotonic() - begun.pop()

    began = time.monotonic()
    try:
        app(list(arguments), standalone_mode=False)
    finally:
        print(json.dumps({**spent, "seconds": time.monotonic() - began, "pid": os.getpid()}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        work(sys.argv[1:])
    else:
        main()
