"""Opens the storage behind a URL: SQLite in the study's folder, PostgreSQL, a gRPC proxy.

Needs no TensorFlow, so that `thrones status` comes at once.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import optuna
import psutil
from sqlalchemy.exc import ArgumentError

from compress.errors import UsageError, first_cause, one_line
from search.adapters.optuna_rdb import (
    DATABASE_ERRORS,
    MAX_ANSWER_S,
    OnStale,
    open_server,
    open_sqlite,
    upgrade_tables,
)
from search.config import StudyConfig
from search.storage.study_record import check_schema
from search.storage.urls import GRPC, SQLITE, has_file, redact_url, storage_url

PROXY_PORT = 13000
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "lustre", "beegfs", "gpfs", "ceph", "afs"}


def study_exists(config: StudyConfig) -> bool:
    """Return True where the study was ever run."""
    url = storage_url(config)
    return has_file(url) and config.name in optuna.get_all_study_names(open_storage(url))


def load_study(config: StudyConfig, on_stale: OnStale | None = None) -> optuna.Study:
    """Return the study as it is stored. Raises UsageError when it was never run, and for another schema."""
    url = storage_url(config)
    if not has_file(url):
        raise UsageError(f"{redact_url(url)} does not exist; start the study with `thrones run`")
    try:
        study = optuna.load_study(study_name=config.name, storage=open_storage(url, on_stale))
    except KeyError as error:
        raise UsageError(f"{redact_url(url)} has no study {config.name!r}; start it with `thrones run`") from error
    check_schema(study)
    return study


def open_storage(url: str, on_stale: OnStale | None = None) -> optuna.storages.BaseStorage:
    """Open the storage behind a URL. `on_stale` hears of each trial that was failed since its worker is silent.

    Raises UsageError for a URL that names no storage, a server that does not answer, SQLite on a network file system,
    and tables that a different Optuna version made.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heartbeat and proxy are called experimental since Optuna 2.9 and 4.2
        if url.startswith(GRPC):
            return _open_proxy(url, on_stale)
        if url.startswith(SQLITE):
            _refuse_network(Path(url.removeprefix(SQLITE)))
            with _translate_errors(url):
                return open_sqlite(url, on_stale)
        with _translate_errors(url):
            return open_server(_with_driver(url), on_stale)


def connection_errors(url: str) -> tuple[type[Exception], ...]:
    """Return what a storage that is gone for a while raises; nothing for a file: its faults do not pass."""
    if url.startswith(GRPC):
        from search.adapters.optuna_grpc import CONNECTION_ERRORS  # only who uses a proxy waits for grpc

        return CONNECTION_ERRORS
    return () if url.startswith(SQLITE) else DATABASE_ERRORS


def _with_driver(url: str) -> str:
    """Return the URL with the driver that thrones installs, where it names none. Raises UsageError."""
    if url.startswith(("postgresql://", "postgres://")):
        return f"postgresql+psycopg://{url.partition('://')[2]}"
    if url.startswith((SQLITE, "postgresql+")):
        return url
    raise UsageError(
        f"unsupported storage URL {redact_url(url)!r}; give sqlite:///FILE, postgresql://USER@HOST/DATABASE or "
        f"grpc://HOST:{PROXY_PORT}"
    )


@contextmanager
def _translate_errors(url: str) -> Iterator[None]:
    """Turn what an engine raises while it opens into a UsageError with one line."""
    shown = redact_url(url)
    try:
        yield
    except UsageError:  # a ValueError too
        raise
    except ImportError as error:
        remedy = "thrones installs psycopg: leave the driver out, postgresql://USER@HOST/DATABASE"
        raise UsageError(f"storage {shown}: its driver is not installed; {remedy}") from error
    except (ArgumentError, ValueError) as error:
        wanted = "give postgresql://USER@HOST:PORT/DATABASE"
        raise UsageError(f"storage {shown!r} is not a valid URL: {one_line(error)}; {wanted}") from error
    except RuntimeError as error:  # Optuna's error for tables that a different version made
        where = url if url.startswith(SQLITE) else shown
        remedy = f"`thrones storage upgrade {where}` brings them up to date (keep a copy)"
        message = f"storage {shown}: a different Optuna version made its tables ({error})"
        raise UsageError(f"{message}; {remedy}") from error
    except DATABASE_ERRORS as error:
        remedy = "free disk space, check rights, or name another folder with --runs"
        if not url.startswith(SQLITE):
            remedy = "does the server run, does the database exist, and may this host reach it?"
        raise UsageError(f"storage {shown} cannot be opened: {one_line(first_cause(error))}; {remedy}") from error


def _refuse_network(file: Path) -> None:
    """Raise UsageError for a network file system: SQLite's locks fail there, and two hosts would ruin the file."""
    mounts = {Path(disk.mountpoint): disk.fstype for disk in psutil.disk_partitions(all=True)}
    kind = next((mounts[folder] for folder in file.absolute().parents if folder in mounts), "")
    if kind in NETWORK_FILE_SYSTEMS:
        raise UsageError(
            f"{file} is on a network file system ({kind}), where SQLite loses data; name a local folder with --runs, "
            "or a server with --storage postgresql://..."
        )


def _open_proxy(url: str, on_stale: OnStale | None) -> optuna.storages.BaseStorage:
    from search.adapters.optuna_grpc import Proxy, is_answering  # only who uses a proxy waits for grpc

    where = urlsplit(url)
    try:
        host = where.hostname or "localhost"
        port = where.port or PROXY_PORT
    except ValueError as error:
        raise UsageError(f"storage {url!r}: {error}; give grpc://HOST:{PROXY_PORT}") from error
    if not is_answering(host, port, MAX_ANSWER_S):
        remedy = "start it with `thrones storage serve postgresql://...`"
        raise UsageError(f"no proxy answers at {host}:{port} within {MAX_ANSWER_S} s; {remedy}")
    return Proxy(host, port, on_stale)


def upgrade_storage(url: str) -> str:
    """Bring a database's tables up to this Optuna's; return the version that they had. Raises UsageError."""
    if url.startswith(GRPC):
        raise UsageError(f"storage {url} is a proxy; upgrade the database behind it, on its host")
    if not has_file(url):
        raise UsageError(f"{redact_url(url)} does not exist; give the URL of a storage")
    with _translate_errors(url):
        before, is_known = upgrade_tables(_with_driver(url))
    if not is_known:
        remedy = "upgrade thrones, or Optuna beside it, to a version that knows them"
        raise UsageError(f"storage {redact_url(url)}: a newer Optuna made its tables ({before}); {remedy}")
    return before


def serve_storage(url: str, host: str, port: int, on_start: Callable[[], object]) -> None:
    """Be a gRPC proxy in front of a database until the process is stopped. Raises UsageError."""
    from search.adapters.optuna_grpc import serve  # only who uses a proxy waits for grpc

    storage = optuna.storages.get_storage(open_storage(url))  # cached: the proxy's clients ask for all trials
    try:
        serve(storage, host, port, on_start)
    except OSError as error:
        raise UsageError(f"{host}:{port} cannot be listened on ({error.strerror}); name another --port") from error
