"""The command line's way to say that it was used wrongly: an error of ours, and no page of usage."""

import argparse
from typing import NoReturn

from edge.errors import UsageError, one_line


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose `parse_args` raises UsageError, one line, where argparse would end the process."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{one_line(message)}", remedy=f"see `{self.prog} --help`")
