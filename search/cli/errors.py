"""How a command ends when it cannot go on: one line on stderr, and an exit code.

2: the user's input, or a place that cannot be written; 1: the rig or a measurement; 130: Ctrl-C.
"""

import errno
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as shells have it."""


@contextmanager
def one_line() -> Iterator[None]:
    """Ends the process as the module says, whatever is raised inside; a bug of ours keeps its traceback."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:  # what Typer makes of Ctrl-C
            raise
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the way out takes a second
        fail("stopped; the same command goes on from here", INTERRUPTED)
    except OSError as error:
        fail(_explain(error))
    except Exception as error:
        # Here and not above: importing them takes longer than `thrones --help` may.
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        from edge.errors import ThronesError, first_cause
        from search.storage.artifacts import is_of_s3

        if isinstance(error, ThronesError):
            fail(str(error), error.exit_code)
        if isinstance(error, (StorageInternalError, SQLAlchemyError)):
            fail(f"the study's storage failed: {first_cause(error)}; free disk space, check rights")
        if type(error).__module__.partition(".")[0] == "grpc":  # which few have imported
            fail(f"the study's storage failed: {_details(error)}; do the proxy and the database behind it run?")
        if is_of_s3(error):
            fail(f"the artifacts' store failed: {error}; check the bucket and boto3's own settings")
        raise


def _details(error: Any) -> str:
    """What a call to the proxy says of its failure."""
    return str(error.details() if hasattr(error, "details") else error)


def _explain(error: OSError) -> str:
    remedies = {errno.ENOSPC: "free some space, or name another folder with --runs"}
    for no_place in (errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.ENOENT):
        remedies[no_place] = "name a place that can be written"
    remedy = remedies.get(error.errno or 0)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}" + (f"; {remedy}" if remedy else "")


def fail(message: str, code: int = 2) -> NoReturn:
    """Say it on one line of stderr and exit."""
    print(f"thrones: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
