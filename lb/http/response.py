"""A server's response on its way to the client: the head written anew, then the body."""

from __future__ import annotations

from typing import Protocol

from lb.http.carrier import ExchangeToServe, Framing
from lb.http.flow import Coding, Flow, part_of_body
from lb.http.response_changes import Variant
from lb.http.server_carrier import ServerCarrier
from lb.http1.body import MessageBody, UntilCloseBody
from lb.http1.coding import coding_for
from lb.http1.grammar import MalformedError
from lb.http1.response_head import ResponseHead
from lb.relay.epoll_stream import EpollStream

__all__ = ["Response", "ResponseOwner"]


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
        "_coding",
        "_content_coding",
        "_flow",
        "_framing",
        "_head",
        "_owner",
        "_server",
        "body",
    )

    def __init__(
        self, owner: ResponseOwner, server: ServerCarrier, head: ResponseHead, variant: Variant | None
    ) -> None:
        self._owner = owner
        self._server = server
        self._head = head
        self._change = None if variant is None else variant.change
        self._content_coding = b"" if variant is None else variant.coding
        self._flow: Flow | None = None
        self._coding: Coding | None = None
        self._framing = Framing()
        exchange = owner.exchange
        self.body = server.response_body(head, exchange.head.method, exchange.max_header)

    def begin(self, rest: memoryview) -> None:
        """Send the head, and what has come of the body. Raises MalformedError before anything is sent."""
        exchange, compressed = self._owner.exchange, bool(self._content_coding)
        self._framing = framing = exchange.carrier.framing(exchange, self._head, self.body, compressed=compressed)
        if self.body is not None:
            self._coding = self._compressing(self.body) if compressed else self._recoding(self.body)
        first = self._take(rest)
        image = exchange.carrier.response_image(exchange, self._head, framing.line, change=self._change)
        exchange.response_begins(self._head.status)
        body = self.body
        complete = body is None or (body.done and not self._content_coding)
        write = exchange.carrier.write_two if not complete or (body and body.trailers) else exchange.carrier.write_whole
        try:
            write(image, first)
        except OSError:
            exchange.client_left()
            return
        if body is None or complete:
            self._complete()
        else:
            self._let_flow(body)

    def _recoding(self, body: MessageBody) -> Coding | None:
        return coding_for(body, in_chunks=self._framing.in_chunks)

    def _compressing(self, body: MessageBody) -> Coding:
        from lb.http.compressed_body import CompressedCoding  # noqa: PLC0415 - the libraries take memory
        from lb.http.encoders import Encoder  # noqa: PLC0415 - the same

        encoder = Encoder(self._content_coding, self._owner.exchange.spawn)
        return CompressedCoding(encoder, self._resume, decodes=body.in_chunks, encodes=self._framing.in_chunks)

    def _resume(self, data: bytes) -> None:
        """A thread has compressed a piece."""
        if self._flow is not None:
            self._server.loop.refresh()
            self._flow.coded(data)

    def _take(self, rest: memoryview) -> bytes | memoryview:
        """Return what the client gets of the bytes that came with the head."""
        body = self.body
        if rest and (body is None or self._content_coding or self._owner.exchange.is_limited):
            self._server.give_back(bytes(rest))
            return b""
        if body is None or self._content_coding or not (rest or body.done):
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
        trailers = self.body.trailers if self.body is not None else ()
        owner.response_complete(reusable=reusable)
        owner.exchange.response_complete(close=self._framing.until_close, trailers=trailers)

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
        return self._framing.in_chunks

    def cancel(self) -> None:
        """Stop."""
        if self._flow is not None:
            self._flow.cancel()
            self._count(self._flow)
