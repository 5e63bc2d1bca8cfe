"""A study from its file to its best model: open or resume the storage, run trials, compare the best with the base."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import optuna

from compress.datasets.dataset import Dataset
from compress.versions import conversion_versions, training_versions
from edge.errors import InvalidMeasurementError
from search.cache import Cache
from search.candidate.context import Bench, open_bench
from search.candidate.known_candidates import ask_for_known
from search.config import StudyConfig
from search.progress import Progress
from search.runner.final_comparison import compare
from search.runner.final_training import finish, run_once, train_waiting_finalists
from search.runner.grid import run_grid, tell_missing
from search.runner.lifecycle import Identity, begin_study, compare_boards, identity, join
from search.runner.loop import optimize
from search.storage.artifacts import check_place
from search.storage.study_state import Lock, begun, counted
from search.strategy.mutation import propose
from search.strategy.search_space import grid_params, starting_params

Crew = Callable[[Progress, float], None]
"""Has other processes do the work until time.monotonic() says so, and returns when they have ended."""


def run_study(config: StudyConfig, data: Dataset, progress: Progress, crew: Crew | None = None) -> optuna.Study:
    """Run or resume a study until its budget ends, then compare its best candidate with the base.

    The trials are run here, or by the processes of a `crew`. Raises UsageError for a storage of another study, base or
    data, where another run is at work on it, and as `check_place`; UnavailableError when device or meter stay away.
    """
    starts = starting_params(config)
    cache = Cache(config.folder.parent / "cache", progress.line)
    with Lock(config.folder) as lock:
        lock.alone()
        check_place(config)
        with open_bench(config, data, progress, cache) as bench:
            return _run(bench, starts, lock, crew)


def _run(bench: Bench, starts: list[dict[str, Any]], lock: Lock, crew: Crew | None) -> optuna.Study:
    config, progress = bench.config, bench.progress
    asked = starts if config.grid is None else grid_params(config.grid)
    study = begin_study(bench, _identity(bench), _facts(bench), asked)
    compare_boards(study, bench, bench.device, bench.plan, bench.base_model, bench.data.validation[0])
    known = ask_for_known(study, bench) if config.grid is None else 0
    if known:
        progress.line(f"asked for as well: the {known} best that other studies trained and this board measured")
    lock.share()
    progress.begin()
    before = begun(study)
    if crew is None:
        _work(study, bench)
    else:
        if (config.grid.distill_weight if config.grid else config.space.distill_weight[1]) > 0:
            bench.teacher_logits  # noqa: B018  once, before every worker computes them for itself
        crew(progress, bench.deadline_s)
    if begun(study) == before and bench.deadline_s <= time.monotonic():
        over = f"no trial was run: the budget of {config.budget.minutes:g} minutes was over first"
        progress.line(f"{over}; give it more with --minutes, or minutes in [budget]")
    if config.grid is not None:
        tell_missing(study, bench, config.grid)
        return study
    try:
        compare(study, bench)
    except InvalidMeasurementError as error:  # what was found is no worse for it, and is reported all the same
        progress.line(f"base and best were not compared: {error}; then run the same command again")
    return study


def join_study(config: StudyConfig, data: Dataset, progress: Progress, parent: int | None = None) -> None:
    """Be one more worker of a study that `run_study` has begun, until its budget ends or process `parent` does.

    Raises UsageError for a study that was not begun or whose time is over, and for another version, space, base, data
    or kind of board than that study's; UnavailableError when device or meter stay away.
    """
    cache = Cache(config.folder.parent / "cache", progress.line)
    with Lock(config.folder) as lock, open_bench(config, data, progress, cache, parent) as bench:
        lock.share()
        study, left_s = join(config, _identity(bench))
        progress.begin()
        _work(study, replace(bench, deadline_s=time.monotonic() + left_s))


def _work(study: optuna.Study, bench: Bench) -> None:
    """What every worker does until the budget ends."""
    if bench.config.grid is not None:
        run_grid(study, bench, bench.config.grid)
        return
    train_waiting_finalists(study, bench)  # of a run that was stopped among them
    _search(study, bench)


def _identity(bench: Bench) -> Identity:
    made_by = {**training_versions(), **conversion_versions()}
    data = bench.data
    return identity(
        bench.config,
        data=data.key,
        test=data.test_key,
        base=bench.base_key,
        board=bench.board,
        made_by=made_by,
        base_ms=bench.base_speed.now_ms,
    )


def _facts(bench: Bench) -> dict[str, Any]:
    """What tables and reports tell of the study."""
    return {
        "data": bench.data.name,
        "data source": bench.data.source,
        "rule_percent": bench.rule_percent,
        "required_percent": bench.required_percent,
        "decision_images": int(bench.data.decides.sum()),
        "test_images": len(bench.data.test[0]),
        "environment": vars(bench.device.environment()),
    }


def _search(study: optuna.Study, bench: Bench) -> None:
    """Trials and finalists until the budget ends: the search alone at first, then finalists come before it."""
    rng = np.random.default_rng()  # unseeded like the sampler: a resumed study must not ask for the same again
    final = bench.config.final_training
    kept_s = final.budget_fraction * bench.config.budget.minutes * 60 if final.candidates else 0.0

    def left() -> int:
        return bench.config.budget.trials - counted(study.get_trials(deepcopy=False))

    def propose_next() -> None:
        propose(study, bench.config, rng)

    def one_more() -> bool:
        if left() <= 0:
            return False
        once = iter([1])
        optimize(study, bench, run_once, lambda: next(once, 0), propose_next)
        return True

    search = replace(bench, deadline_s=bench.deadline_s - kept_s)
    optimize(study, search, run_once, left, propose_next, stay=kept_s == 0)
    finish(study, bench, one_more)
