"""What can go wrong between the base network and a `.tflite`, and whose fault it is.

`UsageError` (bad input, exit code 2) is that of all packages, from `edge.errors`. That module imports
nothing; it is the only one of `edge` that `compress` may import.
"""

from edge.errors import EXIT_BAD_INPUT, ThronesError, UsageError, first_cause, one_line

__all__ = ["CandidateError", "NotAtHandError", "UsageError", "first_cause", "one_line"]


class NotAtHandError(UsageError):
    """CIFAR-10 was not named, is nowhere here and cannot be downloaded; another data set may do."""


class CandidateError(ThronesError):
    """The candidate cannot be converted, or has other operators than requested; the search continues."""

    exit_code = EXIT_BAD_INPUT
