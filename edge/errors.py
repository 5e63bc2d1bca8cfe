"""Errors that are raised on purpose, for all packages: the class says whose fault it is.

    ThronesError
    ├── UsageError (ValueError)      the caller: a bad URL, plan, file or stored record; exit code 2
    ├── CandidateError               the candidate, while it is built (`compress.errors`); exit code 2
    └── EdgeError                    the device, the meter or the model on it; exit code 1
        ├── ModelError               the model: wrong shapes, crashes or hangs the runtime; exit code 2
        ├── InvalidMeasurementError  the measurement: unsteady, throttled, no reading inside a window
        └── UnavailableError         the test bench: no answer, child killed, disk full, no runtime

The message is one line with the value and the limit; the remedy is a field of its own. This module
imports nothing, so that every package may import it.
"""

EXIT_FAULT, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130
"""Exit codes of every command: a device's fault, the user's input, Ctrl-C (as shells have it)."""


class ThronesError(Exception):
    """Base of all errors that are raised on purpose; `str` gives "message; remedy" in one line."""

    exit_code = EXIT_FAULT

    def __init__(self, message: str = "", *, remedy: str = "") -> None:
        super().__init__(f"{message}; {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy


class UsageError(ThronesError, ValueError):
    """The caller requested something that does not exist or makes no sense."""

    exit_code = EXIT_BAD_INPUT


class EdgeError(ThronesError):
    """A device, a meter or a model on a device failed."""


class ModelError(EdgeError):
    """This device cannot run the model; it may run another one."""

    exit_code = EXIT_BAD_INPUT


class InvalidMeasurementError(EdgeError):
    """The figures cannot be trusted; the same model may be measured again."""


class UnavailableError(EdgeError):
    """The device or the meter does not answer; nothing can be measured until somebody repairs it."""


def with_prefix(prefix: str, error: ThronesError) -> ThronesError:
    """Return an error of the same class and remedy whose message begins with `prefix`."""
    return type(error)(f"{prefix}: {error.message}", remedy=error.remedy)


def one_line(error: BaseException | str) -> str:
    """Return the first line of an error's text that is not blank, or its class name."""
    for line in str(error).splitlines():
        if line.strip():
            return line.strip()
    return type(error).__name__


def first_cause(error: BaseException) -> BaseException:
    """Return the error at the bottom of the chain, in the words of the library that raised it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
