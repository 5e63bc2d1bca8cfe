"""Errors between the base network and a `.tflite`: the class says whose fault it is.

`UsageError` (bad input, exit code 2) is that of all packages, from `edge.errors`. That module imports
nothing; it is the only one of `edge` that `compress` may import.
"""

from edge.errors import EXIT_BAD_INPUT, ThronesError, UsageError, first_cause, one_line

__all__ = ["CandidateError", "DatasetNotFoundError", "UsageError", "first_cause", "one_line"]


class DatasetNotFoundError(UsageError):
    """CIFAR-10 is not on this machine and cannot be downloaded; another data set may be used."""


class CandidateError(ThronesError):
    """The candidate cannot be converted, or has other operators than requested; the search continues."""

    exit_code = EXIT_BAD_INPUT
