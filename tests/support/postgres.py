"""A real PostgreSQL server in a folder of its own, from Debian's package; also a script."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest


def find_programs() -> Path | None:
    """The folder with initdb and postgres; None where PostgreSQL is not installed."""
    on_path = shutil.which("postgres")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


class Postgres:
    """A server on a free port of this host; use it in a `with`. `kill` and `start` are for tests of outages."""

    def __init__(self) -> None:
        programs = find_programs()
        if programs is None:
            pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="thrones-postgres-"))
        # postgres refuses to run as root; Debian's package has made this user.
        self._user = pwd.getpwnam("postgres").pw_uid if os.getuid() == 0 else None
        if self._user is not None:
            os.chown(self._folder, self._user, -1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        """Of the database that is there from the start."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> "Postgres":
        self._run("initdb", "--pgdata", "data", "--auth", "trust", "--username", "postgres", "--no-sync")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = ["-p", str(self.port), "-c", f"unix_socket_directories={self._folder}", "-c", "max_connections=200"]
        log = (self._folder / "log").open("a")
        self._server = subprocess.Popen(
            [self._programs / "postgres", "-D", "data", "-c", "listen_addresses=127.0.0.1", *options],
            cwd=self._folder, user=self._user, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            with socket.socket() as line:
                if line.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise TimeoutError((self._folder / "log").read_text())

    def kill(self) -> None:
        """As a power cut does."""
        children = subprocess.run(["pgrep", "-P", str(self._server.pid)], capture_output=True, text=True).stdout.split()
        self._server.kill()
        self._server.wait()
        for child in children:  # they notice by themselves, but not at once
            subprocess.run(["kill", "-9", child], stderr=subprocess.DEVNULL)
        (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments], cwd=self._folder, user=self._user, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    with Postgres() as server:
        print(server.url, flush=True)
        server._server.wait()
