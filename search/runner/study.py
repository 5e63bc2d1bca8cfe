"""A whole run of a study: open everything, run trials until the budget ends, compare the best with the base."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna

from compress.datasets.dataset import Dataset
from compress.versions import conversion_versions, training_versions
from edge.errors import InvalidMeasurementError
from search.candidate.context import TrialContext, open_context
from search.candidate.known_candidates import enqueue_known
from search.config import StudyConfig
from search.progress import Progress
from search.runner.final_comparison import compare_finally
from search.runner.final_training import run_final_training, run_unless_duplicate, run_waiting
from search.runner.grid import log_missing_rows, run_grid
from search.runner.lifecycle import (
    Fingerprint,
    compare_devices,
    create_or_resume_study,
    fingerprint_of,
    join_study,
)
from search.runner.loop import run_trials
from search.storage.artifacts import check_place
from search.storage.cache import Cache
from search.storage.lock import StudyLock
from search.storage.retry import count_begun, count_trials
from search.storage.study_record import StudyFacts
from search.storage.trial_history import TrialHistory
from search.strategy.grid_space import grid_rows
from search.strategy.mutation import propose
from search.strategy.ranking import TIE
from search.strategy.search_space import initial_params

WorkerLauncher = Callable[[Progress, float], None]
"""Has other processes run the trials until `time.monotonic()` says so, and returns when they have ended."""


def run_study(
    config: StudyConfig, data: Dataset, progress: Progress, launcher: WorkerLauncher | None = None
) -> optuna.Study:
    """Run or resume a study until its budget ends, then compare its best candidate with the base.

    Args:
        config: The study.
        data: Its images.
        progress: Who shows what is done.
        launcher: Runs the trials in other processes; None runs them here.

    Raises:
        UsageError: The storage has another study, base or data, another run works on it, or as `check_place`.
        UnavailableError: Device or meter stay away.
    """
    initial = initial_params(config)
    cache = Cache(config.folder.parent / "cache", progress.line)
    with StudyLock(config.folder) as lock:
        lock.hold_alone()
        check_place(config)
        with open_context(config, data, progress, cache) as context:
            deadline_s = time.monotonic() + config.budget.minutes * 60
            study = _begin(context, initial, deadline_s)
            lock.share()
            progress.begin()
            _run(study, context, deadline_s, launcher)
            return study


def _begin(context: TrialContext, initial: Sequence[Mapping[str, Any]], deadline_s: float) -> optuna.Study:
    """Create or resume the study, and enqueue what is to be tried first."""
    config = context.config
    wanted = initial if config.grid is None else [row.params for row in grid_rows(config.grid)]
    study = create_or_resume_study(context, _fingerprint(context), _facts(context), wanted, deadline_s)
    images = context.data.validation[0]
    compare_devices(study, context, context.device, context.plan, context.base_model, images)
    if config.grid is None:
        known = enqueue_known(study, TrialHistory(study).records(), context)
        if known:
            context.progress.line(f"enqueued the {known} best that other studies trained and this device measured")
    return study


def _run(study: optuna.Study, context: TrialContext, deadline_s: float, launcher: WorkerLauncher | None) -> None:
    """Run the trials, here or in other processes, then the final comparison or the check for missing rows."""
    config = context.config
    history = TrialHistory(study)
    before = count_begun(history.records())
    if launcher is None:
        _work(study, context, deadline_s)
    else:
        if _distills(config):
            context.teacher_logits()  # once, before every worker computes them for itself
        launcher(context.progress, deadline_s)
    if count_begun(history.records()) == before and deadline_s <= time.monotonic():
        context.progress.line(
            f"no trial was run: the budget of {config.budget.minutes:g} minutes was over first; give it more with "
            "--minutes, or minutes in [budget]"
        )
    if config.grid is not None:
        log_missing_rows(context, history, config.grid)
        return
    try:
        compare_finally(study, context, history)
    except InvalidMeasurementError as error:  # the study is reported all the same
        context.progress.line(f"base and best were not compared: {error}; then run the same command again")


def _distills(config: StudyConfig) -> bool:
    if config.grid is not None:
        return config.grid.distill_weight > 0
    return config.space.distill_weight[1] > 0


def work_on_study(config: StudyConfig, data: Dataset, progress: Progress, parent_pid: int | None = None) -> None:
    """Be one more worker of a study that `run_study` has begun, until its budget ends or the parent process does.

    Args:
        config: The study.
        data: Its images.
        progress: Who shows what is done.
        parent_pid: The process that started this one, if any.

    Raises:
        UsageError: The study was not begun, its time is over, or it has another version, space, base, data or device.
        UnavailableError: Device or meter stay away.
    """
    cache = Cache(config.folder.parent / "cache", progress.line)
    with StudyLock(config.folder) as lock, open_context(config, data, progress, cache, parent_pid) as context:
        lock.share()
        study, left_s = join_study(config, _fingerprint(context))
        progress.begin()
        _work(study, context, time.monotonic() + left_s)


def _work(study: optuna.Study, context: TrialContext, deadline_s: float) -> None:
    """Do what every worker does until the budget ends."""
    history = TrialHistory(study)
    if context.config.grid is not None:
        run_grid(study, context, history, context.config.grid, deadline_s)
        return
    run_waiting(study, context, history, deadline_s)  # final trainings of a run that was stopped
    _search(study, context, history, deadline_s)


def _search(study: optuna.Study, context: TrialContext, history: TrialHistory, deadline_s: float) -> None:
    """Search until the budget's part for it ends; then the final trainings come first.

    Args:
        study: The study.
        context: What the trials share.
        history: The trials of the study.
        deadline_s: `time.monotonic()` when the budget ends.
    """
    config = context.config
    rng = np.random.default_rng()  # unseeded like the sampler: a resumed study must not ask for the same again
    final_s = 0.0
    if config.final_training.candidates:
        final_s = config.final_training.budget_fraction * config.budget.minutes * 60

    def left() -> int:
        return config.budget.trials - count_trials(history.records())

    def propose_next() -> None:
        propose(study, history.records(), config, rng)

    def search(until_s: float, trials_left: Callable[[], int], wait_for_others: bool) -> None:
        run_one = partial(run_unless_duplicate, context=context, history=history, deadline_s=until_s)
        run_trials(
            study,
            context,
            history,
            run_one,
            deadline_s=until_s,
            left=trials_left,
            propose_next=propose_next,
            wait_for_others=wait_for_others,
        )

    def search_on() -> bool:
        """Run one more trial of the search."""
        begun = count_trials(history.records())
        if begun >= config.budget.trials:
            return False
        search(deadline_s, lambda: begun + 1 - count_trials(history.records()), wait_for_others=False)
        return True

    search(deadline_s - final_s, left, wait_for_others=final_s == 0)
    run_final_training(study, context, history, deadline_s, search_on)


def _fingerprint(context: TrialContext) -> Fingerprint:
    return fingerprint_of(
        context.config,
        data=context.data.key,
        test=context.data.test_key,
        base=context.base_key,
        device_kind=context.device_kind,
        versions={**training_versions(), **conversion_versions()},
        base_ms=context.base_speed.now_ms,
    )


def _facts(context: TrialContext) -> StudyFacts:
    return StudyFacts(
        data=context.data.name,
        data_source=context.data.source,
        constraint_percent=context.constraint_percent,
        required_percent=context.required_percent,
        decision_images=int(context.data.decides.sum()),
        test_images=len(context.data.test[0]),
        tie_tolerance=TIE,
        environment=vars(context.device.environment()),
    )
