"""Read small files beside the traffic, note which were read, and see whether files may be made."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from pathlib import Path

import attrs

from lb.net.privileged_files import open_file

__all__ = ["Reading", "mark_of_file", "may_write_in", "note_reads", "read_file", "read_file_or_pipe", "reading"]

MAX_FILE_SIZE = 1 << 24
"""Maximum bytes of a file. A guess: a hundred times the largest configuration."""


@attrs.define
class Reading:
    """What is read: the file that is read now, for who gives up waiting, and a mark of each, for who watches them."""

    path: str = ""
    marks: dict[str, bytes] = attrs.field(factory=dict)
    """By path, as :func:`mark_of_file` returns them. Of a file that is read twice, the first counts."""


reading: ContextVar[Reading | None] = ContextVar("reading", default=None)


@contextmanager
def note_reads(path: str | Path) -> Iterator[Reading]:
    """Note the files that are read within the block, by its threads too. ``path`` is the first."""
    now = Reading(str(path))
    token = reading.set(now)
    try:
        yield now
    finally:
        reading.reset(token)


def read_file(path: str | Path) -> bytes:
    """Read the whole file. Raises OSError, also if it is not a plain file or too large.

    A pipe would block until somebody writes to it. A network file system that does not answer blocks all the same.
    """
    return _noted(path, _plain_content)


def read_file_or_pipe(path: str | Path) -> bytes:
    """Read a file to its end, however long that takes. Raises OSError."""
    return _noted(path, _any_content)


def _noted(path: str | Path, read: Callable[[str | Path], bytes]) -> bytes:
    now = reading.get()
    if now is None:
        return read(path)
    now.path = str(path)
    try:
        content = read(path)
    except OSError as error:
        now.marks.setdefault(now.path, _mark_of_error(error))
        raise
    now.marks.setdefault(now.path, _mark(content))
    return content


def _plain_content(path: str | Path) -> bytes:
    fd = open_file(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("is not a plain file")
        content = file.read(MAX_FILE_SIZE + 1)
    if len(content) > MAX_FILE_SIZE:
        raise OSError(f"is larger than {MAX_FILE_SIZE >> 20} MiB")
    return content


def _any_content(path: str | Path) -> bytes:
    with os.fdopen(open_file(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as file:
        return file.read()


def mark_of_file(path: str | Path) -> bytes:
    """Return what differs if the file holds something else, or cannot be read for another reason. Blocks."""
    try:
        return _mark(_plain_content(path))
    except OSError as error:
        return _mark_of_error(error)


def _mark(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _mark_of_error(error: OSError) -> bytes:
    return str(error.strerror or error).encode()


def may_write_in(directory: Path) -> bool:
    """Return whether this process may make files there."""
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)
