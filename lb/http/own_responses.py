"""Responses of the balancer itself, on their way to a client: pages, files, what the cache has."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from lb.http.carrier import Framing
from lb.http.exchange import Exchange, ExchangeCarrier
from lb.http.file_flow import Body, BodyPart, FilePart, PartsFlow, body_length, joined, release_parts
from lb.http.flow import Coding
from lb.http1.coding import ChunkedCoding
from lb.model.request import HeaderFields
from lb.pools.backend import Backend

__all__ = ["OwnResponses"]


class OwnResponses(ExchangeCarrier, abc.ABC):
    """A carrier that sends them. How a head is written, and a body framed, is its own matter."""

    __slots__ = ()

    @property
    def backend(self) -> Backend | None:
        exchange = self.exchange
        return exchange.upstream.backend if exchange is not None and exchange.upstream is not None else None

    @property
    def server(self) -> Backend | None:
        exchange = self.exchange
        return exchange.upstream.used if exchange is not None and exchange.upstream is not None else None

    @abc.abstractmethod
    def own_framing(self, exchange: Exchange, status: int, length: int | None) -> Framing:
        """Return how the client gets the body. ``length``: in bytes; None = not known before its end."""

    @abc.abstractmethod
    def own_head(self, exchange: Exchange, status: int, fields: HeaderFields, framing: Framing) -> bytes:
        """Return the head, for :meth:`write_whole` and :meth:`write_head`."""

    @abc.abstractmethod
    def write_head(self, head: bytes, *, more: bool) -> None:
        """Send a head. ``more``: the body follows at once. Raises OSError."""

    def respond(
        self,
        exchange: Exchange,
        status: int,
        fields: HeaderFields,
        body: Body,
        content_coding: bytes,
    ) -> None:
        body = joined(body)
        framing = self.own_framing(exchange, status, None if content_coding else body_length(body))
        head = self.own_head(exchange, status, fields, framing)
        if exchange.head.method == b"HEAD":
            release_parts(body)
            body, content_coding = b"", b""
        try:
            if isinstance(body, bytes) and not content_coding:
                exchange.bytes_out = len(body)
                self.write_whole(head, body)
                exchange.response_complete()
            else:
                parts = (body,) if isinstance(body, bytes) else body
                self._write_parts(exchange, head, parts, self._own_coding(exchange, framing, content_coding))
        except OSError:
            release_parts(body)
            exchange.client_left()

    def send_parts(self, exchange: Exchange, head: bytes, parts: Sequence[BodyPart]) -> None:
        try:
            self._write_parts(exchange, head, parts, None)
        except OSError:
            release_parts(parts)
            exchange.client_left()

    def _own_coding(self, exchange: Exchange, framing: Framing, content_coding: bytes) -> Coding | None:
        if content_coding:
            return self._compressing(exchange, framing, content_coding)
        return ChunkedCoding() if framing.in_chunks else None

    def _compressing(self, exchange: Exchange, framing: Framing, content_coding: bytes) -> Coding:
        from lb.http.compressed_body import CompressedCoding  # noqa: PLC0415 - the libraries take memory
        from lb.http.encoders import Encoder  # noqa: PLC0415 - the same

        encoder = Encoder(content_coding, exchange.spawn)
        return CompressedCoding(encoder, self._coded, decodes=False, encodes=framing.in_chunks)

    def _write_parts(self, exchange: Exchange, head: bytes, parts: Sequence[BodyPart], coding: Coding | None) -> None:
        first = parts[0]
        has_some = isinstance(first, bytes | FilePart) or first.ready(0) > 0
        self.write_head(head, more=has_some)
        self.response_flow = flow = PartsFlow(self, parts, self, coding)
        flow.pace = exchange.response_pace(flow.pump)
        exchange.watch_idle()
        if has_some:
            flow.pump()
        else:
            self.continue_later()  # others wait for their heads

    def _coded(self, data: bytes) -> None:
        """A thread has compressed a piece."""
        if isinstance(self.response_flow, PartsFlow):
            self.loop.refresh()
            self.response_flow.coded(data)

    def flow_ended(self, flow: PartsFlow) -> None:
        """A response of the balancer itself is written."""
        exchange = self.exchange
        assert isinstance(exchange, Exchange)  # noqa: S101 - the flow is cancelled with it
        exchange.bytes_out = flow.written
        self.response_flow = None
        exchange.response_complete()

    def flow_failed(self, flow: PartsFlow, error: OSError | EOFError) -> None:
        """The client is gone, or the file is not what it was."""
        exchange = self.exchange
        assert isinstance(exchange, Exchange)  # noqa: S101 - the same
        exchange.bytes_out = flow.written
        self.response_flow = None
        if isinstance(error, OSError):
            exchange.client_left()
        else:
            exchange.abort("bad_response")

    def again(self) -> None:
        if isinstance(self.response_flow, PartsFlow) and not self.closed:
            self.queued = False
            self.response_flow.pump()
        else:
            super().again()
