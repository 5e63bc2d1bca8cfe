"""Prepare the test bench: install the agent on a device over SSH, and check everything that can be wrong."""

import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import requires
from importlib.resources import files
from pathlib import Path
from typing import Any

from edge.diagnostics import OK, WRONG, Finding, check_device, check_meter
from edge.errors import ThronesError, UnavailableError, UsageError
from edge.meters.meter import open_meter
from edge.open_device import ON_DEVICE
from edge.remote.client import RemoteDevice
from edge.remote.connect import connector, open_shell, parse_url
from edge.remote.service import installed_version

HOME = ".local/share/thrones"
START_S = 60.0
"""Python starts slowly from a Pi's card, and the agent waits for its meter before it listens."""
UNIT = """[Unit]
Description=thrones agent: measures models for a host
After=network.target

[Service]
ExecStart=%h/{home}/venv/bin/python -m edge serve --port {port}{meter}
Restart=always
RestartSec=2

[Install]
WantedBy=default.target
"""
PROJECT = """[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"
[project]
name = "thrones"
version = "{version}"
requires-python = ">=3.10"
dependencies = {dependencies}
[tool.setuptools.packages.find]
include = ["edge*"]
"""


def set_up(url: str, meter: str | None, on_status: Callable[[str], None]) -> list[Finding]:
    """Install or upgrade the agent on the device behind an ssh:// URL, start it, and check it through a tunnel.

    `meter`: one that is connected to the device. Raises UsageError for another URL, UnavailableError when a step fails.
    """
    address = parse_url(url)
    if address.scheme != "ssh":
        raise UsageError(f"{url!r} is no ssh:// address", remedy="for example pi@raspberrypi.local")
    if meter is not None:
        open_meter(meter)  # reports a slip here, not in a log on the device
        if not meter.isprintable() or any(letter in meter for letter in " \"'\\%$"):
            message = f"meter {meter!r} has a letter that a service file cannot hold"
            raise UsageError(message, remedy="rename what it names")
    try:
        shell = open_shell(address)
    except OSError as error:
        raise UnavailableError(f"{url} cannot be reached ({error})", remedy="does ssh to there work?") from error
    with shell:
        port = address.agent_port
        _run(shell, "no Python 3.10 or later", "python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'")
        on_status("making a virtual environment")
        _run(shell, "apt install python3-venv there", f"mkdir -p {HOME} && python3 -m venv {HOME}/venv")
        on_status(f"installing thrones {installed_version()}")
        with tempfile.TemporaryDirectory() as folder:
            _send(shell, _package(Path(folder)), f"{HOME}/agent.tar.gz")
        unpack = f"cd {HOME} && rm -rf source && mkdir source && tar xzf agent.tar.gz -C source"
        _run(shell, "is the disk there full?", unpack)
        _run(shell, "does the device reach PyPI?", f"{HOME}/venv/bin/pip install --quiet --upgrade {HOME}/source")
        on_status("starting the agent")
        _start(shell, port, meter, on_status)
    with RemoteDevice(url, connector(url), first_contact_s=START_S) as device:
        return [Finding("agent", f"thrones {device.version} on port {port}", OK), *device.check()]


def doctor(device: str, meter: str) -> Iterator[Finding]:
    """Check the device, then the meter; the checks of one that cannot be reached end there."""
    if device == "local:":
        yield from check_device()
    else:
        remote = RemoteDevice(device, connector(device))
        try:
            with remote:
                mine, theirs = installed_version(), remote.version
                yield Finding("device", f"{device} answers", OK)
                yield Finding("version", f"{theirs} there, {mine} here", *_same(mine, theirs))
                yield from remote.check()
        except ThronesError as error:
            yield Finding("device", error.message, WRONG, error.remedy)
    if meter != ON_DEVICE:
        yield from check_meter(open_meter(meter))


def _same(mine: str, theirs: str) -> tuple[str, str]:
    return (OK, "") if mine == theirs else (WRONG, "run `thrones device setup` again")


def _package(folder: Path) -> Path:
    """Write a source archive for a device: the `edge` package and the dependencies of the small install."""
    needed = [need for need in requires("thrones") or [] if "extra ==" not in need]
    source = Path(str(files("edge")))
    (folder / "pyproject.toml").write_text(PROJECT.format(version=installed_version(), dependencies=needed))
    shutil.copytree(source, folder / "edge", ignore=shutil.ignore_patterns("__pycache__"))
    archive = folder / "agent.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("pyproject.toml", "edge"):
            tar.add(folder / name, arcname=name)
    return archive


def _start(shell: Any, port: int, meter: str | None, on_status: Callable[[str], None]) -> None:
    option = f" --meter {meter}" if meter else ""
    unit = UNIT.format(home=HOME, port=port, meter=option)
    folder = ".config/systemd/user"
    with tempfile.TemporaryDirectory() as here:
        path = Path(here) / "thrones-agent.service"
        path.write_text(unit)
        _run(shell, "is the home folder writable?", f"mkdir -p {folder}")
        _send(shell, path, f"{folder}/{path.name}")
    systemd = shell["sh"]["-c", "systemctl --user show-environment"].run(retcode=None)[0] == 0
    if systemd:
        steps = ("daemon-reload", "enable thrones-agent", "restart thrones-agent")
        command = " && ".join(["loginctl enable-linger", *(f"systemctl --user {step}" for step in steps)])
        _run(shell, "see `journalctl --user -u thrones-agent` there", command)
        return
    on_status("no systemd for this user there: started now, but not at the next boot")
    command = f"{HOME}/venv/bin/python -m edge serve --port {port}{option}"
    _run(shell, "stop the old agent", f"pkill -f '[e]dge serve --port {port}'; sleep 1; true")
    _run(shell, f"see {HOME}/agent.log there", f"nohup {command} > {HOME}/agent.log 2>&1 < /dev/null & true")


def _send(shell: Any, source: Path, target: str) -> None:
    try:
        shell.upload(source, target)
    except OSError as error:  # plumbum's own is one
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        message = f"{target} could not be sent ({said[-1]})"
        raise UnavailableError(message, remedy="does `scp` to there work?") from error


def _run(shell: Any, remedy: str, command: str) -> None:
    code, _, errors = shell["sh"]["-c", command].run(retcode=None)
    if code != 0:
        said = errors.strip().splitlines()
        raise UnavailableError(f"`{command}` failed there ({said[-1] if said else code})", remedy=remedy)
