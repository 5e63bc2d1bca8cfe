"""Optuna's database storage, with a patient heartbeat, many rows at once, and safe SQLite transactions."""

import copy
import sqlite3
import warnings
from collections.abc import Callable, Container
from contextlib import suppress
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages._rdb.storage import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from search.adapters.optuna_rows import is_bare, read_trials, write_waiting
from search.adapters.optuna_trials import database_of, id_of

OnStale = Callable[[optuna.Study, FrozenTrial], None]
HEARTBEAT_S = 10
"""How often a worker says that it is alive."""
GRACE_S = 60
"""A running trial is failed when its worker has been silent for this long."""
MAX_ANSWER_S = 10
"""A server that has not answered a first call by then is not there."""
MAX_BUSY_S = 60
"""How long one process waits for another to finish writing into an SQLite file."""
DATABASE_ERRORS = (StorageInternalError, SQLAlchemyError)


class Database(RDBStorage):
    """Optuna's, whose heartbeat survives a server that is gone for a while, and which takes many rows at once."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that the trial's worker is alive; where nobody hears it, the next time will do."""
        with suppress(*DATABASE_ERRORS):
            super().record_heartbeat(trial_id)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        """Do as Optuna's, but write a trial that waits with its parameters in four statements."""
        if template_trial is None or not is_bare(template_trial):
            return super()._create_new_trial(study_id, template_trial)
        with self.engine.begin() as connection:
            trial_id, number = write_waiting(connection, study_id, template_trial)
        added = copy.deepcopy(template_trial)
        added.number = number
        added._trial_id = trial_id
        added.datetime_start = None
        return added

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Do as Optuna's, the first time, when all are asked for, the fast way."""
        if states is None and not included_trial_ids and trial_id_greater_than < 0:
            with self.engine.connect() as connection:
                found = read_trials(connection, study_id)
            if found:  # or else Optuna's own says whether the study exists
                return found
        return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)


class _SafeConnection(sqlite3.Connection):
    """Write-ahead logging, synced at checkpoints: a kill loses nothing, a power cut at most the last trial."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")


def open_sqlite(url: str, on_stale: OnStale | None) -> Database:
    """Open or make an SQLite file."""
    storage = _open(url, {"timeout": MAX_BUSY_S, "factory": _SafeConnection}, on_stale)
    # Not before: while Optuna looks at its tables it has two transactions at once.
    storage.engine.dispose()
    event.listen(storage.engine, "connect", _leave_beginning)
    event.listen(storage.engine, "begin", _begin_at_once)
    return storage


def open_server(url: str, on_stale: OnStale | None) -> Database:
    """Open a database of a server; `url` names its driver."""
    return _open(url, {"connect_timeout": MAX_ANSWER_S}, on_stale)


def _open(url: str, connect_args: dict[str, Any], on_stale: OnStale | None) -> Database:
    for attempt in _PATIENT:
        with attempt:
            storage = Database(
                _escaped(url),
                engine_kwargs={"connect_args": connect_args, "pool_pre_ping": True},
                heartbeat_interval=HEARTBEAT_S,
                grace_period=GRACE_S,
                heartbeat_stale_trial_callback=on_stale,
            )
    return storage


def _escaped(url: str) -> str:
    """Return the URL with doubled braces: Optuna takes single ones for a template's."""
    return url.replace("{", "{{").replace("}", "}}")


def _is_being_made(error: BaseException) -> bool:
    """Return True where another process makes the tables at this moment; SQLAlchemy has no class for it."""
    return isinstance(error, DATABASE_ERRORS) and "already exists" in str(error)


_PATIENT = Retrying(
    retry=retry_if_exception(_is_being_made), wait=wait_fixed(1), stop=stop_after_attempt(10), reraise=True
)


def _leave_beginning(connection: Any, record: Any) -> None:
    """Leave the beginning of transactions to `_begin_at_once`, not to the driver."""
    connection.isolation_level = None


def _begin_at_once(connection: Any) -> None:
    """Lock at once: a transaction that reads before it writes fails where another process has written meanwhile."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def is_in_transaction(study: optuna.Study) -> bool:
    """Return True while this process uses a connection to the study's database."""
    database = database_of(study)
    if not isinstance(database, RDBStorage):
        return False
    pool = database.engine.pool
    return isinstance(pool, QueuePool) and pool.checkedout() > 0


def upgrade_tables(url: str) -> tuple[str, bool]:
    """Bring a database's tables up to this Optuna's; return the version that they had, and whether it was known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = RDBStorage(_escaped(url), skip_compatibility_check=True)
        before = storage.get_current_version()
        if before not in storage.get_all_versions():
            return before, False
        storage.upgrade()
    return before, True


def read_summaries(study: optuna.Study, attributes: tuple[str, ...]) -> list[FrozenTrial] | None:
    """Return all trials with these user attributes alone, without times and parameters; None where only all can be had.

    A proxy gives all of a trial or nothing.
    """
    database = database_of(study)
    if not isinstance(database, RDBStorage):
        return None
    with database.engine.connect() as connection:
        return read_trials(connection, id_of(study), attributes=attributes)


def read_whole(study: optuna.Study, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return these trials with all that is stored of them; the study's storage is a database."""
    database = database_of(study)
    with database.engine.connect() as connection:
        return read_trials(connection, id_of(study), only=[id_of(trial) for trial in trials])
