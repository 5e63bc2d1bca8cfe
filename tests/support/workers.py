"""Workers of a study in this process, which run whatever the test gives them."""

import time
from collections.abc import Callable
from io import StringIO
from typing import Any

import optuna
from rich.console import Console

from search.candidate.worker_context import WorkerContext
from search.config import StudyConfig
from search.progress import Progress
from search.runner.loop import run_trials
from search.storage.trial_history import TrialHistory


def worker(parent_pid: int | None = None, shown: StringIO | None = None, **settings: Any) -> Any:
    """Return a worker of a study with these settings; `shown` gets its lines.

    It is no whole context, and does where no trial comes as far as to need one.
    """
    progress = Progress(Console(file=shown or StringIO(), width=300), 1)
    return WorkerContext(StudyConfig(**{"road": "latency", **settings}), progress, parent_pid)


def work(
    study: optuna.Study,
    run_one: Callable[[optuna.Trial], float],
    left: Callable[[], int],
    context: WorkerContext | None = None,
    sleep: Callable[[float], object] = lambda seconds: None,
) -> None:
    """Run trials for at most a minute, without pauses."""
    run_trials(
        study,
        worker() if context is None else context,
        TrialHistory(study),
        run_one,
        deadline_s=time.monotonic() + 60,
        left=left,
        sleep=sleep,
    )
