"""Read small files beside the traffic, and see whether files may be made."""

from __future__ import annotations

import os
import stat
from contextvars import ContextVar
from pathlib import Path

import attrs

from lb.net.privileged_files import open_file

__all__ = ["Reading", "may_write_in", "read_file", "read_file_or_pipe", "reading"]

MAX_FILE_SIZE = 1 << 24
"""Maximum bytes of a file. A guess: a hundred times the largest configuration."""


@attrs.define
class Reading:
    """The file that is being read, for who gives up waiting."""

    path: str = ""


reading: ContextVar[Reading] = ContextVar("reading", default=Reading())  # noqa: B039 - nobody reads the default


def read_file(path: str | Path) -> bytes:
    """Read the whole file. Raises OSError, also if it is not a plain file or too large.

    A pipe would block until somebody writes to it. A network file system that does not answer blocks all the same.
    """
    reading.get().path = str(path)
    fd = open_file(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("is not a plain file")
        content = file.read(MAX_FILE_SIZE + 1)
    if len(content) > MAX_FILE_SIZE:
        raise OSError(f"is larger than {MAX_FILE_SIZE >> 20} MiB")
    return content


def read_file_or_pipe(path: str | Path) -> bytes:
    """Read a file to its end, however long that takes. Raises OSError."""
    with os.fdopen(open_file(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as file:
        return file.read()


def may_write_in(directory: Path) -> bool:
    """Return whether this process may make files there."""
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)
