"""A server's response on its way to the client: the head written anew, then the body."""

from __future__ import annotations

from typing import Protocol

from lb.http.carrier import ExchangeToServe
from lb.http.flow import Coding, Flow, part_of_body
from lb.http.response_changes import Variant
from lb.http.server_connection import ServerConnection
from lb.http1.body import LengthBody, MessageBody, UntilCloseBody
from lb.http1.chunks import ChunkWalker
from lb.http1.coding import ChunkedCoding, PlainCoding
from lb.http1.grammar import MalformedError
from lb.http1.response_head import ResponseHead
from lb.http1.wire import CHUNKED, length_line
from lb.relay.epoll_stream import EpollStream

__all__ = ["Response", "ResponseOwner"]


WITHOUT_LENGTH = (101, 204)
"""Statuses of responses that must not have a Content-Length: RFC 9110, section 8.6."""


class ResponseOwner(Protocol):
    """The owner of a response."""

    @property
    def exchange(self) -> ExchangeToServe: ...

    def response_complete(self, *, reusable: bool) -> None:
        """The whole response was read: the server is free, and its connection too if ``reusable``."""


class Response:
    """Passes one response on. Implements FlowOwner."""

    __slots__ = (
        "_change",
        "_chunked",
        "_coding",
        "_content_coding",
        "_flow",
        "_head",
        "_owner",
        "_server",
        "body",
        "until_close",
    )

    def __init__(
        self, owner: ResponseOwner, server: ServerConnection, head: ResponseHead, variant: Variant | None
    ) -> None:
        self._owner = owner
        self._server = server
        self._head = head
        self._change = None if variant is None else variant.change
        self._content_coding = b"" if variant is None else variant.coding
        self._flow: Flow | None = None
        self._coding: Coding | None = None
        self._chunked = False
        self.until_close = False
        """The client learns of the end of the body by the end of its connection."""
        self.body = self._body()

    def _body(self) -> MessageBody | None:
        head, exchange = self._head, self._owner.exchange
        if head.bodiless(exchange.head.method):
            return None
        if head.block.chunked:
            return ChunkWalker(exchange.max_header)
        if head.block.length is not None:
            return LengthBody(head.block.length)
        return UntilCloseBody()

    def begin(self, rest: memoryview) -> None:
        """Send the head, and what has come of the body. Raises MalformedError before anything is sent."""
        exchange = self._owner.exchange
        framing = self._framing()
        self._chunked = framing == CHUNKED
        first = self._take(rest)
        image = exchange.carrier.response_image(
            exchange, self._head, framing, change=self._change, until_close=self.until_close
        )
        exchange.response_begins(self._head.status)
        try:
            exchange.carrier.write_two(image, first)
        except OSError:
            exchange.client_left()
            return
        if self.body is None or self.body.done:
            self._complete()
        else:
            self._let_flow(self.body)

    def _framing(self) -> bytes:
        """Return the line that frames the body for the client, and choose how it is coded."""
        block, minor = self._head.block, self._owner.exchange.head.minor
        if self._content_coding:
            return self._compressed(chunked=block.chunked)
        if self.body is None:
            has_none = block.length is None or self._head.status in WITHOUT_LENGTH
            return b"" if has_none else length_line(block.length or 0)
        if isinstance(self.body, LengthBody):
            return length_line(self.body.left)
        if minor == 0:
            self.until_close = True
            self._coding = PlainCoding() if block.chunked else None
            return b""
        if not block.chunked:
            self._coding = ChunkedCoding()
        return CHUNKED

    def _compressed(self, *, chunked: bool) -> bytes:
        """The body is compressed on its way. Without one, in the response to HEAD, its length is not known."""
        if self.body is not None:
            from lb.http.compressed_body import CompressedCoding  # noqa: PLC0415 - the libraries take memory
            from lb.http.encoders import Encoder  # noqa: PLC0415 - the same

            encoder = Encoder(self._content_coding, self._owner.exchange.spawn)
            self._coding = CompressedCoding(encoder, self._resume, chunked=chunked)
        return CHUNKED

    def _resume(self, data: bytes) -> None:
        """A thread has compressed a piece."""
        if self._flow is not None:
            self._server.loop.refresh()
            self._flow.coded(data)

    def _take(self, rest: memoryview) -> bytes | memoryview:
        """Return what the client gets of the bytes that came with the head."""
        body = self.body
        if body is None or not rest or self._content_coding or self._owner.exchange.is_limited:
            if rest:
                self._server.give_back(bytes(rest))
            return b""
        rest = part_of_body(body, rest, self._server)
        out: bytes | memoryview = rest
        if self._coding is not None:
            out = self._coding.feed(bytes(rest))
            if body.done:
                out += self._coding.finish()
        self._owner.exchange.bytes_out += len(out)
        return out

    def _let_flow(self, body: MessageBody) -> None:
        exchange = self._owner.exchange
        server, carrier = self._server, exchange.carrier
        self._flow = server.response_flow = carrier.response_flow = Flow(server, carrier, body, self, self._coding)
        self._flow.pace = exchange.response_pace(self._flow.pump)
        exchange.watch_idle()
        self._flow.pump()

    def flow_ended(self, flow: Flow) -> None:
        self._count(flow)
        self._complete()

    def _count(self, flow: Flow) -> None:
        exchange = self._owner.exchange
        exchange.bytes_out += flow.written
        self._flow = exchange.carrier.response_flow = None

    def _complete(self) -> None:
        owner, server = self._owner, self._server
        reusable = self._head.keep_alive and not isinstance(self.body, UntilCloseBody) and not server.has_more()
        owner.response_complete(reusable=reusable)
        owner.exchange.response_complete(close=self.until_close)

    def flow_failed(self, flow: Flow, stream: EpollStream, error: Exception) -> None:
        """One side failed. The client must not take what it has got for the whole."""
        self._count(flow)
        exchange = self._owner.exchange
        if stream is exchange.carrier:
            exchange.client_left()
        else:
            exchange.abort("bad_response" if isinstance(error, MalformedError) else "server_reset")

    @property
    def may_end_unfinished(self) -> bool:
        """True if the client can tell from the framing that the body is not complete."""
        return self._chunked

    def cancel(self) -> None:
        """Stop."""
        if self._flow is not None:
            self._flow.cancel()
            self._count(self._flow)
