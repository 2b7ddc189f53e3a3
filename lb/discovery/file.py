"""Discovery in a ``servers_file``, which is read again and again."""

from __future__ import annotations

from typing import NoReturn

import attrs
import trio

from lb.config.servers_file import parse_servers_file
from lb.discovery.source import Findings
from lb.model import ServerSpec
from lb.net.files import read_file
from lb.net.threads import Threads

__all__ = ["FileServers"]

FILE_HOLD = 60.0
"""Seconds that the servers of a file stay once it has none: the default ``hold`` of the other sources."""

FILE_INTERVAL = 1.0
"""Seconds between two reads of a file. Reading takes 0.2 ms of CPU for 1,000 lines, in a thread, and misses no change,
unlike comparing mtime and inode."""
SETTLED = 0.1
"""Seconds that new content must stay unchanged, in case the file is being written in place. A guess."""
READ_TIMEOUT = 5.0
"""Seconds until a read, or a parse, is reported as failed. It goes on: nothing can interrupt it."""


@attrs.frozen
class FileServers:
    """Servers that a file lists. Implements :class:`lb.discovery.source.Source`."""

    path: str

    @property
    def where(self) -> str:
        return f"in {self.path}"

    @property
    def asked(self) -> str:
        return ""

    async def watch(self, findings: Findings) -> NoReturn:
        last: bytes | str | None = None
        thread = Threads(1, READ_TIMEOUT)  # a file that does not answer holds one thread, and delays no other file
        while True:
            content = await _read(self.path, thread)
            if content != last:
                last = content = await _settled(self.path, content, thread)
                if isinstance(content, str):
                    findings.found(None, (content,))
                else:
                    servers, errors = await thread.run(parse_servers_file, content, self.path)
                    findings.found(None if errors else servers, errors, hold_all=FILE_HOLD)
            await trio.sleep(FILE_INTERVAL)

    def read(self) -> tuple[tuple[ServerSpec, ...], tuple[str, ...]]:
        try:
            servers, errors = parse_servers_file(read_file(self.path), self.path)
        except OSError as error:
            return (), (_unreadable(self.path, error),)
        return servers, errors if servers or errors else (f"{self.path}: holds no server",)


async def _settled(path: str, content: bytes | str, thread: Threads) -> bytes | str:
    """Return the content once it stays unchanged for SETTLED seconds."""
    while True:
        await trio.sleep(SETTLED)
        before, content = content, await _read(path, thread)
        if content == before:
            return content


async def _read(path: str, thread: Threads) -> bytes | str:
    """Return the content, or an error message."""
    try:
        return await thread.run(read_file, path)
    except OSError as error:
        return _unreadable(path, error)


def _unreadable(path: str, error: OSError) -> str:
    return f"{path}: cannot be read: {error.strerror or error}"
