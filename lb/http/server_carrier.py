"""What carries exchanges to a server: a connection of HTTP/1, one after the other, or a stream of HTTP/2, one.

Who sends a request and passes its response on knows no more of a server than a :class:`ServerCarrier`.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lb.http1.body import MessageBody
from lb.http1.field import Field
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.pools.backend import Backend
from lb.pools.pool import Pool
from lb.relay.epoll_stream import EpollStream

if TYPE_CHECKING:
    from lb.http.flow import Coding, Flow

__all__ = ["RefusedStreamError", "ResponseFlow", "ServerCarrier", "ServerExchange"]


class RefusedStreamError(OSError):
    """The server says that it has not looked at the request: it may be sent again, whatever it is."""


class ServerExchange(Protocol):
    """The exchange that a server's carrier has."""

    @property
    def max_header(self) -> int:
        """Maximum bytes of a response's head."""

    def response(self, head: ResponseHead, rest: memoryview) -> bool:
        """A head has come. ``rest`` is what has come after it. Return True if another head follows."""

    def server_failed(self, error: Exception) -> None:
        """The server failed before its response: OSError, EOFError at its end, MalformedError."""

    def response_timed_out(self) -> None:
        """The server has not responded in time."""


class ResponseFlow(Protocol):
    """What takes the body of a response."""

    def pump(self) -> None:
        """There may be more of it."""


class ServerCarrier(EpollStream, abc.ABC):
    """Carries an exchange to a server of a pool."""

    __slots__ = ("backend", "exchange", "pool", "request_flow", "response_flow", "waiting_since")
    backend: Backend
    pool: Pool
    exchange: ServerExchange | None
    """None: the carrier is idle."""
    request_flow: Flow | None
    response_flow: ResponseFlow | None
    waiting_since: float | None
    """When the whole request was sent; None: no response is due."""
    has_all = True
    """A body of a known length ends with its last byte."""

    @abc.abstractmethod
    def begin(self, exchange: ServerExchange, asked: RequestHead, head: bytes, first: bytes, *, ended: bool) -> None:
        """Send the head of a request, as an image, and what is there of its body. ``ended``: that is all of it.

        Raises OSError.
        """

    @abc.abstractmethod
    def coding(self, head: RequestHead, body: MessageBody) -> Coding | None:
        """Return what the body of a request needs in order to be sent here; None: it passes as it comes."""

    @abc.abstractmethod
    def finish_request(self, trailers: Sequence[Field]) -> None:
        """All of the request's body was written. ``trailers`` follow it, unless it was sent in chunks, which end so."""

    @abc.abstractmethod
    def response_body(self, head: ResponseHead, method: bytes, max_trailer: int) -> MessageBody | None:
        """Return what follows the body of a response to its end; None: it has none."""

    def all_trailers(self) -> Sequence[Field] | None:
        """Return what stands behind a body that has come to its end; None: more comes, or that is not known.

        Raises MalformedError.
        """
        return None

    @property
    @abc.abstractmethod
    def may_be_stale(self) -> bool:
        """Nothing of a response has come over a connection that has carried others: it may have ended before."""

    @abc.abstractmethod
    def look_for_response(self) -> None:
        """The request cannot be sent: the server may have responded before it read all."""

    @abc.abstractmethod
    def has_more(self) -> bool:
        """Return True if something has come behind the response: bytes that belong to no request, or the end."""

    def end(self) -> None:
        """The exchange has ended. The caller keeps or closes the carrier."""
        self.exchange = self.request_flow = self.response_flow = self.waiting_since = None
