"""What can go wrong between the base network and a `.tflite`, and whose fault it is.

CompressError
├── UsageError        the user's: a value out of range, data missing or damaged -> one line, exit code 2
│   └── NotAtHandError  CIFAR-10 is nowhere here and cannot be downloaded
└── CandidateError    this candidate's: it cannot be converted, or its operators are not those asked for
"""


class CompressError(Exception):
    """Base of every error that `compress` raises on purpose."""


class UsageError(CompressError, ValueError):
    """The user gave something that cannot be used; the message names value, limit and remedy."""


class NotAtHandError(UsageError):
    """CIFAR-10 was not named, is nowhere here and cannot be downloaded; another data set may do."""


class CandidateError(CompressError):
    """The candidate is at fault; the search goes on with the next one."""


def one_line(error: BaseException) -> str:
    """The first line of what `error` says, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def first_cause(error: BaseException) -> BaseException:
    """The error at the bottom, in the words of the library that met it: a driver's are the shortest."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
