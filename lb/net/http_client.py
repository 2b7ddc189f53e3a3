"""A client of the HTTP servers that the balancer itself asks: etcd, Kubernetes, hooks. It is httpx."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import trio

from lb.net.http_failure import http_failure_text
from lb.net.threads import Threads

if TYPE_CHECKING:
    import httpx

__all__ = ["AnswerBytes", "HttpClient", "HttpClientError", "beginning_of_answer", "read_answer"]

HTTP_CLOSE_TIMEOUT = 1.0
"""Seconds to say goodbye over TLS at the end. A guess."""


class HttpClientError(Exception):
    """A request that has no answer, or half of one. The message is short, and does not name the URL."""


class HttpClient:
    """Sends requests, without a proxy. The library is loaded with the first one. Deadlines are those of trio.

    ``tls`` returns the context for URLs with https; it runs in a thread. There are at most ``most_connections``, each
    for one request; without that number, httpx keeps connections.
    """

    def __init__(
        self,
        tls: Callable[[], ssl.SSLContext],
        *,
        headers: Mapping[str, str],
        most_connections: int | None = None,
        socket_options: Iterable[tuple[int, int, int]] = (),
    ) -> None:
        self._tls = tls
        self._headers = {"User-Agent": "trio-lb", **headers}
        self._most_connections = most_connections
        self._socket_options = [*socket_options]
        self._thread = Threads(1)
        self._loading = trio.Lock()
        self._client: httpx.AsyncClient | None = None
        self._failures: tuple[type[Exception], ...] = ()

    async def load(self) -> httpx.AsyncClient:
        """Import the library and make the context, in a thread: with the authorities of the system, they take 0.3 s.

        Raises what ``tls`` raises; the next call tries again.
        """
        async with self._loading:
            if self._client is None:
                library, context = await self._thread.run(self._load)
                self._failures = (library.HTTPError, library.InvalidURL, OSError)
                self._client = self._new_client(library, context)
        return self._client

    def _load(self) -> tuple[ModuleType, ssl.SSLContext]:
        import httpx  # noqa: PLC0415 - only where there is a server to ask

        return httpx, self._tls()

    def _new_client(self, library: ModuleType, context: ssl.SSLContext) -> httpx.AsyncClient:
        most = self._most_connections
        limits = {"limits": library.Limits(max_connections=most, max_keepalive_connections=0)} if most else {}
        transport = library.AsyncHTTPTransport(
            verify=context, trust_env=False, socket_options=self._socket_options, **limits
        )
        client: httpx.AsyncClient = library.AsyncClient(
            transport=transport, headers=self._headers, trust_env=False, timeout=None
        )
        return client

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            with trio.move_on_after(HTTP_CLOSE_TIMEOUT, shield=True):
                await self._client.aclose()

    @asynccontextmanager
    async def stream(self, method: str, url: str, **request: Any) -> AsyncIterator[httpx.Response]:  # noqa: ANN401 - as httpx takes them
        """Send a request and yield the head of its answer; the body is read within the block.

        Raises HttpClientError, also for a failure within the block.
        """
        client = await self.load()
        try:
            async with client.stream(method, url, **request) as response:
                yield response
        except self._failures as failure:
            raise HttpClientError(http_failure_text(failure)) from failure


class AnswerBytes:
    """The bytes of a body, up to a limit."""

    def __init__(self, most: int) -> None:
        self.content = bytearray()
        self._most = most

    def take(self, chunk: bytes) -> bool:
        """Take bytes. False if there are too many."""
        self.content += chunk
        return len(self.content) <= self._most


async def read_answer(response: httpx.Response, take: Callable[[bytes], bool]) -> bool:
    """Read the body of an answer to its end. False if ``take`` refused a part of it.

    A body that is given up is left while its next part is awaited: only so do the generators of httpx end cleanly.
    """
    with trio.CancelScope() as given_up:
        async for chunk in response.aiter_raw():
            if not take(chunk):
                given_up.cancel()
    return not given_up.cancel_called


async def beginning_of_answer(response: httpx.Response, most: int) -> bytes:
    """Return the body, or what comes first of one with more than ``most`` bytes."""
    part = AnswerBytes(most)
    await read_answer(response, part.take)
    return bytes(part.content)
