"""End a command that cannot continue with one line on stderr and an exit code of `edge.errors`."""

import errno
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from edge.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED

REMEDIES = {
    errno.ENOSPC: "free some space, or name another folder with --runs",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "name a place that can be written",
    errno.ENOTDIR: "name a place that can be written",
    errno.ENOENT: "name a place that can be written",
}


@contextmanager
def errors_as_one_line() -> Iterator[None]:
    """End the process with one line for every expected error; a bug of ours keeps its traceback."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != EXIT_INTERRUPTED:  # Typer turns Ctrl-C into this code
            raise
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # cleaning up takes a second
        fail("stopped; run the same command to resume", EXIT_INTERRUPTED)
    except OSError as error:
        fail(_explain(error))
    except Exception as error:
        _fail_if_expected(error)
        raise


def fail(message: str, code: int = EXIT_BAD_INPUT) -> NoReturn:
    """Print the message as one line on stderr and exit."""
    print(f"thrones: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _fail_if_expected(error: Exception) -> None:
    """End the process where the input, the device or the storage is at fault."""
    # Imported here, because importing them takes longer than `thrones --help` may.
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    from edge.errors import ThronesError, first_cause
    from search.storage.artifacts import is_of_s3

    if isinstance(error, ThronesError):
        fail(str(error), error.exit_code)
    if isinstance(error, (StorageInternalError, SQLAlchemyError)):
        fail(f"the study's storage failed: {first_cause(error)}; free disk space, check rights")
    if type(error).__module__.partition(".")[0] == "grpc":  # few have installed it
        fail(f"the study's storage failed: {_grpc_details(error)}; do the proxy and the database behind it run?")
    if is_of_s3(error):
        fail(f"the artifacts' store failed: {error}; check the bucket and boto3's own settings")


def _grpc_details(error: Any) -> str:
    return str(error.details() if hasattr(error, "details") else error)


def _explain(error: OSError) -> str:
    message = f"{error.strerror or error}"
    if error.filename:
        message = f"{error.filename}: {message}"
    remedy = REMEDIES.get(error.errno or 0)
    return f"{message}; {remedy}" if remedy else message
