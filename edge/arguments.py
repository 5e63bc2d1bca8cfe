"""An argument parser that raises our own error, in one line, where argparse prints its usage."""

import argparse
from typing import NoReturn

from edge.errors import UsageError, one_line


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose `parse_args` raises UsageError where argparse would end the process."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{one_line(message)}", remedy=f"see `{self.prog} --help`")
