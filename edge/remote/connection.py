"""Calls to an agent over a connection that may break: each is tried again over a new one."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import rpyc
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from edge.errors import UnavailableError, one_line
from edge.records import error_from_dict

PIECE_BYTES = 1_000_000
RETRY_S = 60.0
"""How long a lost connection is tried again: a switch restarts in that time, and the agent keeps a job for longer."""
FIRST_CONTACT_S = 5.0
"""A host that has never answered is more likely a wrong name than a lost connection."""
MIN_PAUSE_S, MAX_PAUSE_S = 0.2, 5.0
CLOCK_TRIES = 5
MAX_STANDSTILLS = 3
CANCEL_S = 6.0
"""A poll may be in the way for POLL_S; on a dead line the call is lost, and the job ends with its lease."""
LOST = (EOFError, OSError)
"""What a lost connection raises: TimeoutError is an OSError, and so is what ssl and ssh raise."""


class Wire(Protocol):
    """A connection to an agent, as rpyc gives it."""

    root: Any

    def close(self) -> None: ...


class Connection:
    """The connection to an agent; `connect` opens a wire and raises OSError or EOFError when it cannot.

    `url` is for messages. A call is tried again for `retry_s`, the first one for `first_contact_s` only.
    """

    def __init__(
        self,
        url: str,
        connect: Callable[[], Wire],
        retry_s: float = RETRY_S,
        first_contact_s: float = FIRST_CONTACT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url
        self._connect = connect
        self._retry_s = retry_s
        self._first_contact_s = first_contact_s
        self._sleep = sleep
        self._wire: Wire | None = None
        self._has_answered = False

    def close(self) -> None:
        """Hang up; the next call connects again."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """Return an answer of the agent, over a new connection where the old one is lost.

        Raises the agent's own error, and UnavailableError with the first reason when it does not come back.
        """
        reasons: list[BaseException] = []

        def lost(state: RetryCallState) -> None:
            if state.outcome is not None:
                reasons.append(state.outcome.exception() or EOFError())
            self.close()

        retrying = Retrying(
            retry=retry_if_exception_type(LOST),
            stop=stop_after_delay(self._retry_s if self._has_answered else self._first_contact_s),
            wait=wait_exponential(MIN_PAUSE_S, MAX_PAUSE_S),
            sleep=self._sleep,
            after=lost,
            reraise=True,
        )
        try:
            answer = retrying(self._ask, method, *arguments)
        except LOST as error:
            raise UnavailableError(
                f"{self._url} does not answer ({one_line(reasons[0])})",
                remedy="is it on, and is its agent running? `thrones doctor` looks into it",
            ) from error
        self._has_answered = True
        if isinstance(answer, bytes):
            return answer
        content = json.loads(answer)
        if "error" in content:
            raise error_from_dict(content)
        return content["value"]

    def _ask(self, method: str, *arguments: Any) -> Any:
        if self._wire is None:
            self._wire = self._connect()
        return getattr(self._wire.root, method)(*arguments)

    def upload(self, content: bytes) -> str:
        """Send what the agent does not have yet, and return its sha256, which is its name there."""
        sha256 = hashlib.sha256(content).hexdigest()
        received = self.call("received", sha256, len(content))
        standstills = 0
        while received < len(content):
            piece = content[received : received + PIECE_BYTES]
            before = received
            received = self.call("append", sha256, received, len(content), piece)
            if received <= before:
                standstills += 1
            if standstills > MAX_STANDSTILLS:
                raise UnavailableError(
                    f"{self._url} does not keep what is sent", remedy="empty its store, ~/.cache/thrones"
                )
        return sha256

    def clock_ahead(self) -> tuple[float, float]:
        """Return how far this host's monotonic clock is ahead of the device's, and +- how much, in seconds.

        The quickest of a few exchanges, as NTP does it: the device read its clock within that round trip.
        """
        ahead_s, uncertain_s = 0.0, float("inf")
        for _ in range(CLOCK_TRIES):
            sent_s = time.monotonic()
            device_s = self.call("clock")
            half_s = (time.monotonic() - sent_s) / 2
            if half_s < uncertain_s:
                ahead_s, uncertain_s = sent_s + half_s - device_s, half_s
        return ahead_s, uncertain_s

    def cancel(self, job: str) -> None:
        """Free the device if it can still be reached, and hang up; else the job's lease ends by itself."""
        if self._wire is not None:
            with suppress(EOFError, OSError):
                rpyc.timed(self._wire.root.cancel, CANCEL_S)(job).wait()
            self.close()
