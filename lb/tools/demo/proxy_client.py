"""A client of a forward proxy, as curl is one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from lb.model.address import Client
from lb.net.errors import describe_error
from lb.tools.demo.loopback import connect

__all__ = ["ProxyAnswer", "ProxyClient", "WrongAnswerError"]

ANSWER_TIMEOUT = 20.0
"""Seconds to wait for an answer. A look-up has 5 s; the rest is for busy machines."""
_LONGEST = 64 * 1024
_READ = 4096


class WrongAnswerError(Exception):
    """The proxy has not answered as it should. The message is for people."""


@attrs.frozen
class ProxyAnswer:
    """What the proxy says to a CONNECT."""

    stream: trio.SocketStream
    """The tunnel, if there is one."""
    status: int
    line: str
    """The first line: ``HTTP/1.1 403 Forbidden``."""
    error: str
    """The error of Proxy-Status; empty without one."""


class ProxyClient:
    """``connected`` is called with the address of each connection of its own."""

    def __init__(self, port: int, connected: Callable[[str], None]) -> None:
        self._port = port
        self._connected = connected

    @asynccontextmanager
    async def connect(self, target: str) -> AsyncIterator[ProxyAnswer]:
        """Ask for a tunnel to ``host:port``, which ends with the block. Raises WrongAnswerError."""
        stream = await self._open()
        async with stream:
            head = await self._asked(stream, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n", b"\r\n\r\n")
            line, *fields = head.partition("\r\n\r\n")[0].split("\r\n")
            words = line.split(" ", 2)
            if len(words) < 2 or not words[1].isdigit():
                raise WrongAnswerError(f"{line!r} is no answer to CONNECT")
            errors = [field.partition("error=")[2] for field in fields if field.lower().startswith("proxy-status:")]
            yield ProxyAnswer(stream, int(words[1]), line, errors[0] if errors else "")

    async def get(self, answer: ProxyAnswer, host: str, path: str) -> str:
        """Ask the server at the other end of a tunnel, and return the last line of what it says."""
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        said = await self._asked(answer.stream, request, b".\n")
        return said.rstrip("\n").rpartition("\n")[2]

    async def _open(self) -> trio.SocketStream:
        try:
            stream = await connect(self._port)
        except OSError as error:
            raise WrongAnswerError(f"cannot connect to the proxy: {describe_error(error)}") from error
        self._connected(str(Client(*stream.socket.getsockname())))
        return stream

    async def _asked(self, stream: trio.SocketStream, request: str, until: bytes) -> str:
        """Send a request, and return what comes up to ``until``."""
        received = b""
        try:
            with trio.fail_after(ANSWER_TIMEOUT):
                await stream.send_all(request.encode())
                while until not in received and len(received) < _LONGEST:
                    piece = await stream.receive_some(_READ)
                    if not piece:
                        raise WrongAnswerError(f"the connection ended after {received!r}")
                    received += piece
        except trio.TooSlowError as error:
            raise WrongAnswerError(f"no answer in {ANSWER_TIMEOUT:g} s") from error
        except trio.BrokenResourceError as error:
            raise WrongAnswerError("the proxy reset the connection") from error
        return received.decode(errors="replace")
