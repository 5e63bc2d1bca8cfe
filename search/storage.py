"""Where a study is kept, and the best of what it holds. Needs no TensorFlow, so that `thrones status` comes at once."""

import warnings
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy import Engine, event

from compress.errors import UsageError
from search.config import StudyConfig

HEARTBEAT_S, GRACE_S = 5, 15


def storage_path(config: StudyConfig) -> Path:
    """Where the study's SQLite file stands."""
    return config.folder / "study.db"


def open_storage(path: Path) -> optuna.storages.RDBStorage:
    """The storage in one SQLite file.

    Write-ahead logging, synced at checkpoints: a killed process loses nothing, a power cut at most the last trial.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heartbeat and retry are marked experimental since Optuna 2.8
        retry = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=1)
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path}",
            engine_kwargs={"connect_args": {"timeout": 30}},
            heartbeat_interval=HEARTBEAT_S,
            grace_period=GRACE_S,
            heartbeat_stale_trial_callback=retry,
        )
    return storage


@event.listens_for(Engine, "connect")
def _fast_and_safe(connection: Any, record: Any) -> None:
    if type(connection).__module__.startswith("sqlite3"):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")


def load_study(config: StudyConfig) -> optuna.Study:
    """The study as it is stored. Raises UsageError when it was never run."""
    path = storage_path(config)
    if not path.exists():
        raise UsageError(f"{path} does not exist; start the study with `thrones run`")
    try:
        return optuna.load_study(study_name=config.name, storage=open_storage(path), sampler=sampler())
    except KeyError as error:
        raise UsageError(f"{path} has no study {config.name!r}; start it with `thrones run`") from error


def sampler() -> optuna.samplers.BaseSampler:
    """The sampler of every study: TPE, with the rule as its constraint."""
    with warnings.catch_warnings():
        # optuna-dashboard shows only the constraints that this way writes; Optuna's new way is invisible there.
        warnings.simplefilter("ignore")
        return optuna.samplers.TPESampler(
            seed=None,  # a resumed study must not ask for the same candidates again
            multivariate=True,
            n_startup_trials=10,
            constraints_func=lambda trial: (float(trial.user_attrs.get("constraint", 0.0)),),
        )


def best_value(study: optuna.Study) -> float | None:
    """The best value among the trials that keep the rule."""
    trial = best_trial(study)
    return None if trial is None else trial.value


def best_trial(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    """The best of the trials that keep the rule, or None."""
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    feasible = [trial for trial in complete if trial.user_attrs["constraint"] <= 0]
    pick = max if study.direction == optuna.study.StudyDirection.MAXIMIZE else min
    return pick(feasible, key=lambda trial: trial.value or 0.0) if feasible else None
