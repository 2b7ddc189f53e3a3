"""Where the response to a request of the cache goes: into a content, in the place of a client's connection."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Protocol, cast

from lb.cache.content import IN_MEMORY, Content, ContentFile
from lb.http.carrier import Carrier, ExchangeToServe
from lb.http.header_edits import FieldChange
from lb.http1.response_head import ResponseHead
from lb.model.address import Client
from lb.relay.epoll_loop import EpollLoop

__all__ = ["BodyFile", "CacheSink"]


class BodyFile(ContentFile, Protocol):
    """A new file for a body."""

    def reserve(self, count: int) -> bool:
        """Make room for so many more bytes. Return False if there is none."""


_NO_SOCKET = cast("socket.SocketType", None)


class CacheSink(Carrier):
    """Takes a body, whose framing is undone. ``new_file`` makes the file that a long one goes to, if there is room.

    It implements what a response and a flow need of a carrier; it has no socket.
    """

    __slots__ = ("_new_file", "_written", "content")
    spliced = False
    watched = None
    destination = None
    tlvs = b""

    def __init__(
        self,
        loop: EpollLoop,
        carrier: Carrier,
        content: Content,
        new_file: Callable[[], BodyFile | None],
    ) -> None:
        super().__init__(loop, _NO_SOCKET, None, 0)
        self.id = carrier.id
        self.client: Client = carrier.client
        self.forwarded_lines = carrier.forwarded_lines
        self.must_close = False
        self.request_flow = self.response_flow = None
        self.content = content
        content.more_wanted = self._resume
        self._new_file = new_file
        self._written: BodyFile | None = None

    def response_image(
        self,
        exchange: ExchangeToServe,  # noqa: ARG002 - no head is written
        head: ResponseHead,  # noqa: ARG002
        framing: bytes | None = None,  # noqa: ARG002
        *,
        change: FieldChange | None = None,  # noqa: ARG002
        until_close: bool = False,  # noqa: ARG002
    ) -> bytes:
        return b""

    def write_two(self, head: bytes, data: bytes | memoryview) -> None:  # noqa: ARG002 - no head is written
        self.write(data)

    def write(self, data: bytes | memoryview, *, more: bool = False) -> None:  # noqa: ARG002 - no packets
        """Take bytes of the body. If they cannot be stored, they pass to those that read along."""
        content = self.content
        if content.passes or not self._store(data):
            content.keep(data)
            self.writable = not content.is_full

    def _store(self, data: bytes | memoryview) -> bool:
        """Keep bytes in memory if they are few, else in a file. Return False if there is no room."""
        content = self.content
        if self._written is None:
            if content.size + len(data) <= IN_MEMORY:
                content.keep(data)
                return True
            if not self.move_to_file():
                return False
        file = self._written
        if file is not None and file.reserve(len(data)) and _append(file, content.size, data):
            content.data_at += len(data)
            content.came(len(data))
            return True
        content.pass_on()
        return False

    def move_to_file(self) -> bool:
        """Let the body go to a file. Return False if there is no room: it passes without being stored."""
        content = self.content
        file = self._new_file()
        if file is None:
            content.pass_on()
            return False
        content.file = self._written = file
        if content.data and not (file.reserve(len(content.data)) and _append(file, 0, content.data)):
            content.pass_on()
            return False
        content.data_at = content.size
        content.data = bytearray()
        return True

    def _resume(self) -> None:
        """The window has room again."""
        self.writable = True
        if self.response_flow is not None:
            self.loop.refresh()
            self.response_flow.pump()


def _append(file: ContentFile, at: int, data: bytes | bytearray | memoryview) -> bool:
    """Write bytes of a body at their place. Return False if the disk does not take them."""
    at += file.body_at
    rest = memoryview(data)
    try:
        while rest:
            count = os.pwrite(file.fd, rest, at)
            rest, at = rest[count:], at + count
    except OSError:
        return False
    return True
