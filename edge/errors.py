"""Whose fault it is.

    EdgeError
    ├── InfeasibleError          the candidate: no flatbuffer, wrong shapes, crashes or stalls the interpreter
    ├── InvalidMeasurementError  the measurement: unsteady, throttled, no reading inside a window
    ├── UnavailableError         the rig: child not started or killed, disk full, runtime not installed
    └── UsageError (ValueError)  the caller: bad URL, plan, images or stored record

Every message is one line and gives the value, the limit and the remedy.
"""


class EdgeError(Exception):
    """Base of everything that `edge` raises on purpose."""


class InfeasibleError(EdgeError):
    """The candidate cannot be run here; another one may."""


class InvalidMeasurementError(EdgeError):
    """The figures taken cannot be trusted; the same candidate may be measured again."""


class UnavailableError(EdgeError):
    """The device or the meter does not answer; no candidate can be measured until that is mended."""


class UsageError(EdgeError, ValueError):
    """The caller asked for something that does not exist or makes no sense."""


def one_line(error: BaseException | str) -> str:
    """The first line of an error's text that says something; its class name where there is none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
