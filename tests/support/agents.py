"""Real agents in processes of their own, real SSH servers, and a proxy whose line can be cut, for the tests."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class AgentProcess:
    """`python -m edge serve` on loopback; it can be killed and started again on the same port and store."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options, self.port = folder, options, free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"rpyc://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "edge", "serve", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--store", str(self.folder / "store"), *self.options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.greeting = self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(20)


@contextmanager
def agent(folder: Path, *options: str) -> Iterator[AgentProcess]:
    """An agent that is gone at the end of the `with`."""
    running = AgentProcess(folder, *options)
    try:
        yield running
    finally:
        running.kill()


class Proxy:
    """A TCP line to `target` that can be cut and mended; while it is cut, nothing goes through and nobody is told."""

    def __init__(self, target: int) -> None:
        self.port, self._target = free_port(), target
        self._through = threading.Event()
        self._through.set()
        self._sockets: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._through.clear()

    def mend(self) -> None:
        self._through.set()

    def hang_up(self) -> None:
        """Close the connections that there are."""
        for sock in self._sockets:
            with suppress(OSError):  # it may be closed already
                sock.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def close(self) -> None:
        self._server.close()
        self.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                agent = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._sockets += [client, agent]
            for source, sink in ((client, agent), (agent, client)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._through.wait()
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for sock in (source, sink):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)  # closing would wait for the other thread's recv


class SshServer:
    """An OpenSSH server on loopback with keys of its own; `config` is what a client names to be let in."""

    def __init__(self, folder: Path) -> None:
        assert SSHD is not None
        self.folder, self.port = folder, free_port()
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
        host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}\n")
        self.config = folder / "ssh_config"
        self.config.write_text(
            f"IdentityFile {folder}/user_key\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known_hosts\n"
        )
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile {folder}/sshd.pid\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
            "Subsystem sftp internal-sftp\n"
        )
        self.start()

    def start(self) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where sshd drops its rights, made by its service else
        self.process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")], stderr=-3)
        for _ in range(3000):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("sshd does not listen")

    def stop(self) -> None:
        """The server and every session of it."""
        subprocess.run(["pkill", "-P", str(self.process.pid)], check=False)
        self.process.kill()
        self.process.wait()
