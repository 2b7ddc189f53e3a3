"""stdin, stdout and stderr, which may be closed, or lack the characters of a name.

This module is imported before all others and imports nearly nothing.
"""

from __future__ import annotations

import io
import os
import sys

__all__ = ["secure_standard_streams"]


def secure_standard_streams() -> None:
    """Put /dev/null in the place of those that are closed, and let stdout write any character.

    Otherwise the next file or connection would get the descriptor of stderr, and the log lines with it. A closed stdout
    stays one that cannot be written, so that a command whose output is lost reports it.
    """
    for fd, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest free number, which is this one
            os.set_inheritable(fd, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - a descriptor, for the life of the process
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - as above
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: the locale may lack a character of a name
