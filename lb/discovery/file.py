"""Discovery in a ``servers_file``, which is read again and again."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NoReturn

import attrs
import trio

from lb.config.servers_file import parse_servers_file
from lb.discovery.source import Found
from lb.model import ServerSpec

__all__ = ["FileServers", "read"]

FILE_INTERVAL = 1.0
"""Seconds between two reads of a file. Reading takes 0.2 ms of CPU for 1,000 lines, in a thread, and misses no change,
unlike comparing mtime and inode."""
SETTLED = 0.1
"""Seconds that new content must stay unchanged, in case the file is being written in place. A guess."""
MAX_FILE_SIZE = 1 << 24
"""Maximum bytes of a servers file. A guess."""


def read(path: str) -> bytes:
    """Read the whole file. Raises OSError, also if it is not a plain file or too large."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("is not a plain file")
        content = file.read(MAX_FILE_SIZE + 1)
    if len(content) > MAX_FILE_SIZE:
        raise OSError(f"is larger than {MAX_FILE_SIZE >> 20} MiB")
    return content


@attrs.frozen
class FileServers:
    """Servers that a file lists. Implements :class:`lb.discovery.source.Source`."""

    path: str

    async def watch(self, found: Found, fault: Callable[[Exception], None]) -> NoReturn:  # noqa: ARG002 - none expected
        last: bytes | str | None = None
        while True:
            content = await _read(self.path)
            if content != last:
                last = content = await _settled(self.path, content)
                if isinstance(content, str):
                    found((), (content,))
                else:
                    servers, errors = await trio.to_thread.run_sync(parse_servers_file, content, self.path)
                    found(() if errors else servers, errors)
            await trio.sleep(FILE_INTERVAL)

    def read(self) -> tuple[tuple[ServerSpec, ...], tuple[str, ...]]:
        try:
            return parse_servers_file(read(self.path), self.path)
        except OSError as error:
            return (), (_unreadable(self.path, error),)


async def _settled(path: str, content: bytes | str) -> bytes | str:
    """Return the content once it stays unchanged for SETTLED seconds."""
    while True:
        await trio.sleep(SETTLED)
        before, content = content, await _read(path)
        if content == before:
            return content


async def _read(path: str) -> bytes | str:
    """Return the content, or an error message. Reads in a thread, which a hanging file system may block."""
    try:
        return await trio.to_thread.run_sync(read, path, abandon_on_cancel=True)
    except OSError as error:
        return _unreadable(path, error)


def _unreadable(path: str, error: OSError) -> str:
    return f"{path}: cannot be read: {error.strerror or error}"
