"""Where studies are kept, by URL: SQLite in the study's folder, PostgreSQL, a gRPC proxy.

Needs no TensorFlow, so that `thrones status` comes at once.
"""

import copy
import re
import socket
import time
import warnings
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
import psutil
from optuna.exceptions import StorageInternalError
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages._rdb.storage import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from compress.errors import UsageError, first_cause, one_line
from search.config import StudyConfig
from search.storage.bulk_queries import is_bare, read_trials, write_waiting

HEARTBEAT_S = 10
"""A worker says so often that it is alive."""
GRACE_S = 60
"""A running trial whose worker has been silent for so long is given up."""
PROXY_PORT = 13000
ANSWER_S = 10
"""A server that has not answered a first call by then is not there."""
BUSY_S = 60
"""How long one process waits for another to finish writing into an SQLite file."""
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "lustre", "beegfs", "gpfs", "ceph", "afs"}
Stale = Callable[[optuna.Study, FrozenTrial], None]


def storage_url(config: StudyConfig) -> str:
    """Where the study is kept: where its file or `--storage` says, or else in one SQLite file in its folder."""
    return config.storage or f"sqlite:///{config.folder / 'study.db'}"


def shown(url: str) -> str:
    """A storage URL as it may be printed: a file's path, and no password."""
    if url.startswith("sqlite:///"):
        return url.removeprefix("sqlite:///")
    with suppress(ArgumentError, ValueError):
        return make_url(url).render_as_string(hide_password=True)
    return re.sub(r"(//[^:/@]*):[^@]*@", r"\1:***@", url)


def has_file(url: str) -> bool:
    """Whether there is a database to be opened: opening an SQLite file makes it."""
    return not url.startswith("sqlite:///") or Path(url.removeprefix("sqlite:///")).exists()


def is_there(config: StudyConfig) -> bool:
    """Whether the study was ever run."""
    url = storage_url(config)
    return has_file(url) and config.name in optuna.get_all_study_names(open_storage(url))


def open_storage(url: str, on_stale: Stale | None = None) -> optuna.storages.BaseStorage:
    """The storage behind a URL. `on_stale` hears of each trial that was given up since its worker is silent.

    Raises UsageError for a URL that names none, a server that does not answer, a network file system under SQLite and
    the tables of another Optuna.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heartbeat and proxy are called experimental since Optuna 2.9 and 4.2
        if url.startswith("grpc://"):
            return _open_proxy(url, on_stale)
        return _open_database(url, on_stale)


def _open_database(url: str, on_stale: Stale | None) -> RDBStorage:
    connect: dict[str, Any] = {"connect_timeout": ANSWER_S}
    if url.startswith("sqlite:///"):
        connect = {"timeout": BUSY_S}
        _refuse_network(Path(url.removeprefix("sqlite:///")))
    with _explained(url):
        for attempt in _PATIENT:
            with attempt:
                storage = _Database(
                    _driver(url),
                    engine_kwargs={"connect_args": connect, "pool_pre_ping": True},
                    heartbeat_interval=HEARTBEAT_S,
                    grace_period=GRACE_S,
                    heartbeat_stale_trial_callback=on_stale,
                )
    if url.startswith("sqlite:///"):  # not before: while it looks at its tables Optuna has two transactions at once
        storage.engine.dispose()
        event.listen(storage.engine, "connect", _leave_beginning)
        event.listen(storage.engine, "begin", _begin_at_once)
    return storage


def _is_being_made(error: BaseException) -> bool:
    """Whether another process is just then making the tables."""
    return isinstance(error, (StorageInternalError, SQLAlchemyError)) and "already exists" in str(error)


_PATIENT = Retrying(
    retry=retry_if_exception(_is_being_made), wait=wait_fixed(1), stop=stop_after_attempt(10), reraise=True
)


def _driver(url: str) -> str:
    """The URL with the driver that thrones installs, where it names none; Optuna takes braces for a template's."""
    url = url.replace("{", "{{").replace("}", "}}")
    if url.startswith(("postgresql://", "postgres://")):
        return f"postgresql+psycopg://{url.partition('://')[2]}"
    if not url.startswith(("sqlite:///", "postgresql+")):
        raise UsageError(
            f"storage {shown(url)!r} is none: sqlite:///FILE, postgresql://USER@HOST/DATABASE or grpc://HOST:{PROXY_PORT}"
        )
    return url


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """What an engine raises while it opens, as one line."""
    try:
        yield
    except UsageError:  # a ValueError too
        raise
    except ImportError as error:
        remedy = "thrones installs psycopg: leave the driver out, postgresql://USER@HOST/DATABASE"
        raise UsageError(f"storage {shown(url)}: its driver is not installed; {remedy}") from error
    except (ArgumentError, ValueError) as error:
        wanted = "wanted postgresql://USER@HOST:PORT/DATABASE"
        raise UsageError(f"storage {shown(url)!r} is no URL: {one_line(error)}; {wanted}") from error
    except RuntimeError as error:  # Optuna's word for tables that another version made
        where = url if url.startswith("sqlite:") else shown(url)
        remedy = f"`thrones storage upgrade {where}` brings them up to date (keep a copy)"
        raise UsageError(f"storage {shown(url)}: its tables are those of another Optuna ({error}); {remedy}") from error
    except (StorageInternalError, SQLAlchemyError) as error:
        remedy = "free disk space, check rights, or name another folder with --runs"
        if not url.startswith("sqlite:"):
            remedy = "does the server run, does the database exist, and may this host reach it?"
        raise UsageError(f"storage {shown(url)} cannot be opened: {one_line(first_cause(error))}; {remedy}") from error


def _refuse_network(file: Path) -> None:
    """SQLite's locks do not hold on a network file system: two hosts would ruin the file."""
    place = file.absolute()
    mounts = {Path(disk.mountpoint): disk.fstype for disk in psutil.disk_partitions(all=True)}
    kind = next((mounts[folder] for folder in place.parents if folder in mounts), "")
    if kind in NETWORK_FILE_SYSTEMS:
        raise UsageError(
            f"{file} lies on a network file system ({kind}), where SQLite loses data; name a local folder with --runs, "
            "or a server with --storage postgresql://..."
        )


class _Database(RDBStorage):
    """Optuna's, whose heartbeat outlives a server that is gone for a while, and which takes many rows at once."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that the trial's worker is alive; where nobody hears it, the next time will do."""
        with suppress(StorageInternalError, SQLAlchemyError):
            super().record_heartbeat(trial_id)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        """Optuna's, but for a trial that waits with its parameters."""
        if template_trial is None or not is_bare(template_trial):
            return super()._create_new_trial(study_id, template_trial)
        with self.engine.begin() as connection:
            trial_id, number = write_waiting(connection, study_id, template_trial)
        added = copy.deepcopy(template_trial)
        added.number, added._trial_id, added.datetime_start = number, trial_id, None
        return added

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Optuna's, the first time, when all are asked for, the fast way."""
        if states is None and not included_trial_ids and trial_id_greater_than < 0:
            with self.engine.connect() as connection:
                found = read_trials(connection, study_id)
            if found:  # or else it says whether the study is there
                return found
        return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)


@event.listens_for(Engine, "connect")
def _fast_and_safe(connection: Any, record: Any) -> None:
    """Write-ahead logging, synced at checkpoints: a kill loses nothing, a power cut at most the last trial."""
    if type(connection).__module__.startswith("sqlite3"):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")


def _leave_beginning(connection: Any, record: Any) -> None:
    """To `_begin_at_once`, instead of the driver."""
    connection.isolation_level = None


def _begin_at_once(connection: Any) -> None:
    """A transaction that reads before it writes would else fail where another process has written meanwhile."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _open_proxy(url: str, on_stale: Stale | None) -> "optuna.storages.BaseStorage":
    import grpc  # here: only who uses a proxy waits for it

    where = urlsplit(url)
    try:
        host, port = where.hostname or "localhost", where.port or PROXY_PORT
    except ValueError as error:
        raise UsageError(f"storage {url!r}: {error}; wanted grpc://HOST:{PROXY_PORT}") from error
    channel = grpc.insecure_channel(f"{host}:{port}")
    try:
        grpc.channel_ready_future(channel).result(timeout=ANSWER_S)
    except grpc.FutureTimeoutError as error:
        remedy = "start it with `thrones storage serve postgresql://...`"
        raise UsageError(f"no proxy answers at {host}:{port} within {ANSWER_S} s; {remedy}") from error
    finally:
        channel.close()
    return _Proxy(host, port, on_stale)


class _Proxy(optuna.storages.GrpcStorageProxy, BaseHeartbeat):
    """Optuna's, with the heartbeat that its protocol has no call for: an attribute of the trial."""

    BEAT = "thrones:alive_s"

    def __init__(self, host: str, port: int, on_stale: Stale | None) -> None:
        super().__init__(host=host, port=port)
        self._on_stale = on_stale
        self._heard: dict[int, tuple[float | None, float]] = {}  # trial -> its last beat, and since when it is that

    def record_heartbeat(self, trial_id: int) -> None:
        """See `_Database.record_heartbeat`."""
        import grpc

        with suppress(grpc.RpcError, optuna.exceptions.UpdateFinishedTrialError):
            self.set_trial_system_attr(trial_id, self.BEAT, time.time())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Those whose beat has been the same for too long by the clock of this host: others' may differ."""
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        now_s, known = time.monotonic(), self._heard
        beats = {trial._trial_id: trial.system_attrs.get(self.BEAT) for trial in running}
        self._heard = {
            trial_id: known[trial_id] if trial_id in known and known[trial_id][0] == beat else (beat, now_s)
            for trial_id, beat in beats.items()
        }
        return [trial_id for trial_id, (_, since_s) in self._heard.items() if now_s - since_s > GRACE_S]

    def get_heartbeat_interval(self) -> int:
        """Seconds."""
        return HEARTBEAT_S

    def get_heartbeat_stale_trial_callback(self) -> Stale | None:
        """See `open_storage`."""
        return self._on_stale


def outages(url: str) -> tuple[type[Exception], ...]:
    """What a storage that is gone for a while raises; nothing for a file: what ails it does not pass."""
    if url.startswith("grpc://"):
        import grpc

        return (grpc.RpcError,)
    return () if url.startswith("sqlite:") else (StorageInternalError, SQLAlchemyError)


def upgrade(url: str) -> str:
    """Bring a database's tables up to this Optuna's; the version that they had. Raises UsageError."""
    if url.startswith("grpc://"):
        raise UsageError(f"storage {url} is a proxy: upgrade the database behind it, on its host")
    if not has_file(url):
        raise UsageError(f"{shown(url)} does not exist")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _explained(url):
            storage = RDBStorage(_driver(url), skip_compatibility_check=True)
            before = storage.get_current_version()
            if before not in storage.get_all_versions():
                remedy = "upgrade thrones, or Optuna beside it, to a version that knows them"
                raise UsageError(f"storage {shown(url)}: its tables ({before}) are those of a newer Optuna; {remedy}")
            storage.upgrade()
    return before


def serve(url: str, host: str, port: int, on_start: Callable[[], object]) -> None:
    """Be a gRPC proxy in front of a database until the process is stopped. Raises UsageError."""
    with socket.socket() as probe:  # gRPC tells a port in use in its own log alone
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(f"{host}:{port} cannot be listened on ({error.strerror}); name another --port") from error
    storage = optuna.storages.get_storage(open_storage(url))  # cached: the proxy's clients ask for all trials
    on_start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.storages.run_grpc_proxy_server(storage, host=host, port=port)
