"""A server of HTTP/1.1 for the balancer alone: GET and HEAD, over connections that are kept."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeAlias

import attrs
import trio

from lb.http1.grammar import MalformedError
from lb.http1.head_buffer import HeadBuffer
from lb.http1.request_head import RequestHead, RequestHeads
from lb.media.responses import MediaFile
from lb.net.beneath import open_beneath
from lb.net.peer_user import is_own_user
from lb.net.threads import Threads

__all__ = ["FileBody", "HttpResponse", "MediaResponder", "serve_http"]

_MAX_HEADER = 64 * 1024
_READ = 16 * 1024
_PIECE = 256 * 1024
"""Bytes of a file that are read at a time."""
_threads = Threads(8)
"""For files: a slow disk holds up responses from files alone."""
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@attrs.frozen
class FileBody:
    """A part of a file, as a body."""

    file: MediaFile
    start: int
    length: int


@attrs.frozen
class HttpResponse:
    """A response. Content-Length is added."""

    status: int
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes | FileBody = b""

    @property
    def length(self) -> int:
        return self.body.length if isinstance(self.body, FileBody) else len(self.body)


_WITHOUT_LENGTH = (204, 304)
_PREFLIGHT = HttpResponse(
    204,
    (
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "GET, HEAD"),
        ("Access-Control-Allow-Headers", "*"),
        ("Access-Control-Max-Age", "86400"),
    ),
)
"""Tells browsers that players of other sites may send fields of their own, as some do."""

MediaResponder: TypeAlias = Callable[[RequestHead], Awaitable[HttpResponse]]


async def serve_http(listening: socket.socket, respond: MediaResponder, failed: Callable[[Exception], None]) -> None:
    """Serve the connections of a listening socket until cancelled. ``failed`` reports a bug in one of them."""
    heads = RequestHeads()

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                if is_own_user(stream.socket):  # another has not been through the listener's rules
                    await _Connection(stream, heads, respond, failed).run()
        except Exception as exception:  # noqa: BLE001 - a bug in one connection must not end the others
            failed(exception)

    await trio.serve_listeners(serve, [trio.SocketListener(trio.socket.from_stdlib_socket(listening))])


class _Connection:
    """A connection of the balancer."""

    def __init__(
        self,
        stream: trio.SocketStream,
        heads: RequestHeads,
        respond: MediaResponder,
        failed: Callable[[Exception], None],
    ) -> None:
        self._stream = stream
        self._heads = heads
        self._respond = respond
        self._failed = failed
        self._buffer = HeadBuffer(_MAX_HEADER)

    async def run(self) -> None:
        """Serve one request after the other."""
        try:
            while (data := await self._next_head()) is not None:
                head = self._heads.read(data)
                await self._answer(head)
                if not head.keep_alive or head.has_body:
                    return
        except (MalformedError, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the balancer sends no such heads; or it has left

    async def _next_head(self) -> bytes | None:
        while (head := self._buffer.take_head()) is None:
            data = await self._stream.receive_some(_READ)
            if not data:
                return None
            self._buffer.feed(data)
        return head

    async def _answer(self, head: RequestHead) -> None:
        if head.method == b"OPTIONS":
            response = _PREFLIGHT
        elif head.method not in (b"GET", b"HEAD"):
            response = HttpResponse(405, (("Allow", "GET, HEAD"),))
        else:
            try:
                response = await self._respond(head)
            except Exception as exception:  # noqa: BLE001 - a bug in one response must not end the others
                self._failed(exception)
                response = HttpResponse(500, (("Cache-Control", "no-store"),))
        lines = [f"HTTP/1.1 {response.status} {_PHRASES.get(response.status, '')}"]
        lines += [f"{name}: {value}" for name, value in response.fields]
        if response.status not in _WITHOUT_LENGTH:
            lines.append(f"Content-Length: {response.length}")
        image = "\r\n".join([*lines, "", ""]).encode()
        if head.method == b"HEAD" or response.status == 304:
            await self._stream.send_all(image)
        elif isinstance(response.body, FileBody):
            await self._stream.send_all(image)
            await self._send_file(response.body)
        elif len(response.body) <= _READ:
            await self._stream.send_all(image + response.body)
        else:  # without a copy: there may be many slow readers of one segment
            await self._stream.send_all(image)
            await self._stream.send_all(response.body)

    async def _send_file(self, body: FileBody) -> None:
        """Send a part of a file, which must be what it was. Else, or if the disk fails, the response is cut."""
        try:
            await self._send_pieces(body)
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def _send_pieces(self, body: FileBody) -> None:
        file = await _threads.run(_opened, body.file)
        try:
            at, end = body.start, body.start + body.length
            while at < end:
                piece = await _threads.run(_read, file, body.file, min(_PIECE, end - at), at)
                await self._stream.send_all(piece)
                at += len(piece)
        finally:
            os.close(file)


def _opened(file: MediaFile) -> int:
    """Open a file. Raises OSError, and BrokenResourceError if it was replaced meanwhile."""
    root = os.open(file.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_beneath(root, os.fsencode(file.path), os.O_RDONLY)
    finally:
        os.close(root)
    if not _is_unchanged(fd, file):
        os.close(fd)
        raise trio.BrokenResourceError("the file was replaced")
    return fd


def _read(fd: int, file: MediaFile, size: int, position: int) -> bytes:
    """Read a piece of a file. Raises OSError, and BrokenResourceError if it has changed: no two states are mixed."""
    piece = os.pread(fd, size, position)
    if not piece or not _is_unchanged(fd, file):
        raise trio.BrokenResourceError("the file was changed")
    return piece


def _is_unchanged(fd: int, file: MediaFile) -> bool:
    now = os.fstat(fd)
    return (now.st_size, now.st_mtime_ns) == (file.size, file.modified_ns)
