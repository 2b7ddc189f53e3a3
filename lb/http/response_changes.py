"""What a route changes of responses: fields, and compression."""

from __future__ import annotations

from lb.http.carrier import ExchangeToServe
from lb.http.compression import Variant, choose
from lb.http.header_edits import FieldEdits
from lb.http.templates import RequestValues
from lb.http1.response_head import ResponseHead
from lb.model import RouteSpec
from lb.model.request import HeaderFields
from lb.pools.backend import Backend

__all__ = ["ResponseChanges", "Variant"]


class ResponseChanges:
    """The changes of one route. False if it changes nothing."""

    def __init__(self, spec: RouteSpec) -> None:
        self._edits = FieldEdits(spec.response_headers)
        self._compresses = spec.compress
        self._any = bool(self._edits) or spec.compress

    def __bool__(self) -> bool:
        return self._any

    def of(self, exchange: ExchangeToServe, head: ResponseHead, backend: Backend) -> Variant | None:
        """Return how a response is sent; None if it passes unchanged."""
        variant = self._variant(exchange, head) if self._compresses else None
        if not self._edits:
            return variant
        values = RequestValues(
            exchange.head,
            exchange.client.host.encode(),
            exchange.scheme,
            exchange.id.encode(),
            backend.name.encode(),
        )
        change = self._edits.change(values)
        if variant is None:
            return Variant(b"", change)
        return Variant(variant.coding, variant.change.then(change))

    def of_own(
        self, exchange: ExchangeToServe, status: int, fields: HeaderFields, length: int | None
    ) -> tuple[HeaderFields, bytes]:
        """Return the fields of a response of the balancer itself, and the content coding of its body; empty: none.

        ``length`` is that of the body in bytes; None = not known.
        """
        coding = b""
        if self._compresses:
            sized = () if length is None else ((b"Content-Length", b"%d" % length),)
            variant = choose(exchange.head, status, [*fields, *sized])
            if variant is not None:
                fields, coding = variant.change.apply(fields), variant.coding
        if self._edits and status < 400:
            upstream = exchange.upstream
            server = upstream.server_name_used or "" if upstream is not None else ""
            values = RequestValues(
                exchange.head, exchange.client.host.encode(), exchange.scheme, exchange.id.encode(), server.encode()
            )
            fields = self._edits.change(values).apply(fields)
        return fields, coding

    def _variant(self, exchange: ExchangeToServe, head: ResponseHead) -> Variant | None:
        fields = [(field.name, field.value) for field in head.block.end_to_end()]
        if head.block.length is not None:
            fields.append((b"content-length", b"%d" % head.block.length))
        return choose(exchange.head, head.status, fields)
