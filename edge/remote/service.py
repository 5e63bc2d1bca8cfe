"""What a host may call on an agent over rpyc. Only JSON text and bytes cross the wire.

Every answer is JSON, but for the bytes of `result`: {"value": ...}, or an error as
`edge.records.error_to_dict` writes it.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import rpyc

from edge.devices.local import LocalDevice
from edge.diagnostics import check_device, listen
from edge.errors import UsageError
from edge.records import build_record, error_to_dict
from edge.remote.agent import Agent
from edge.remote.protocol import PROTOCOL, Hello, JobRequest, MeterInfo

MAX_TEXT_CHARACTERS = 100_000


def _answers(method: Callable[..., Any]) -> Callable[..., str | bytes]:
    """Wrap an exposed method: take plain arguments only, and answer an error in place of raising it."""

    @wraps(method)
    def answer(self: Any, *arguments: Any) -> str | bytes:
        try:
            for argument in arguments:
                _check_argument(argument)
            value = method(self, *arguments)
        except Exception as error:  # noqa: BLE001  a peer's bad request must not end the connection
            return json.dumps(error_to_dict(error))
        return value if isinstance(value, bytes) else json.dumps({"value": value})

    return answer


def _check_argument(argument: object) -> None:
    if type(argument) not in (str, bytes, int, float):  # a netref would let the peer's code run when it is touched
        raise UsageError("arguments are text, bytes and numbers")
    if type(argument) is str and len(argument) > MAX_TEXT_CHARACTERS:
        raise UsageError(f"text of {len(argument)} characters; the limit is {MAX_TEXT_CHARACTERS}")


class AgentService(rpyc.Service):  # type: ignore[misc]  # rpyc is untyped
    """The methods that a host can call; see `edge.remote.client` for the other side."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    @_answers
    def exposed_hello(self) -> dict[str, Any]:
        """Answer a `Hello`."""
        meter = self._agent.meter
        info = None
        if meter is not None:
            info = MeterInfo(meter.url, meter.estimated, meter.shortest_window_s)
        return asdict(Hello(PROTOCOL, installed_version(), self._agent.jobs(), info))

    @_answers
    def exposed_environment(self) -> dict[str, Any]:
        """Answer an `edge.measuring.measurement.Environment`."""
        return asdict(LocalDevice().environment())

    @_answers
    def exposed_check(self) -> list[dict[str, str]]:
        """Check this device, and the meter that is connected to it: a list of `edge.diagnostics.Finding`."""
        findings = check_device()
        if self._agent.meter is not None:
            findings += listen(self._agent.meter)
        return [asdict(finding) for finding in findings]

    @_answers
    def exposed_clock(self) -> float:
        """Answer CLOCK_MONOTONIC of this device in seconds."""
        return time.monotonic()

    @_answers
    def exposed_received(self, sha256: str, total: int) -> int:
        """See `edge.remote.uploads.Store.received`."""
        return self._agent.store.received(sha256, total)

    @_answers
    def exposed_append(self, sha256: str, offset: int, total: int, piece: bytes) -> int:
        """See `edge.remote.uploads.Store.append`."""
        return self._agent.store.append(sha256, offset, total, piece)

    @_answers
    def exposed_start(self, name: str, request: str) -> None:
        """Take the job `name`; `request` is a `JobRequest` as JSON."""
        self._agent.start(name, build_record(JobRequest, json.loads(request)))

    @_answers
    def exposed_poll(self, name: str, wait_s: float) -> dict[str, Any]:
        """Answer a `JobProgress`; see `Agent.poll`."""
        return asdict(self._agent.poll(name, wait_s))

    @_answers
    def exposed_result(self, name: str) -> bytes:
        """See `Agent.result`."""
        return self._agent.result(name)

    @_answers
    def exposed_cancel(self, name: str) -> None:
        """See `Agent.cancel`."""
        self._agent.cancel(name)


def installed_version() -> str:
    """Return the version of thrones on this machine."""
    try:
        return version("thrones")
    except PackageNotFoundError:
        return "not installed"
