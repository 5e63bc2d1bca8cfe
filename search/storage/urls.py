"""The URL of a storage."""

import re
from contextlib import suppress
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from search.config import StudyConfig

SQLITE = "sqlite:///"
GRPC = "grpc://"


def storage_url(config: StudyConfig) -> str:
    """Return where the study is kept: as its file or `--storage` says, or else one SQLite file in its folder."""
    return config.storage or f"{SQLITE}{config.folder / 'study.db'}"


def redact_url(url: str) -> str:
    """Return a storage URL as it may be printed: a file's path, and no password."""
    if url.startswith(SQLITE):
        return url.removeprefix(SQLITE)
    with suppress(ArgumentError, ValueError):
        return make_url(url).render_as_string(hide_password=True)
    return re.sub(r"(//[^:/@]*):[^@]*@", r"\1:***@", url)


def has_file(url: str) -> bool:
    """Return True where there is a database to open: opening an SQLite file makes it."""
    return not url.startswith(SQLITE) or Path(url.removeprefix(SQLITE)).exists()
