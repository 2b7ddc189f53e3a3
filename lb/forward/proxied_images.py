"""The head of an absolute-form request as its server, or a parent, gets it."""

from __future__ import annotations

from lb.http.carrier import ExchangeToServe
from lb.http.request_image import RequestImages
from lb.http1.field import FORWARDED
from lb.http1.request_head import RequestHead
from lb.http1.wire import field_lines
from lb.model import RouteSpec, ServerSpec, ToPool

__all__ = ["PROXIED_ROUTE", "ProxiedImages"]

PROXIED_ROUTE = RouteSpec("", ToPool(""))
"""Stands for the route that requests to a forward proxy do not have."""


class ProxiedImages(RequestImages):
    """Makes the heads. ``via``: the proxy's name. ``hide_client``: the server is told nothing of the client.

    ``to_parent``: the server is a proxy, which gets the URL, and these lines of its own.
    """

    def __init__(self, via: bytes, *, hide_client: bool, to_parent: bool = False, lines: bytes = b"") -> None:
        super().__init__(PROXIED_ROUTE)
        self.usual = False
        self.own_fields = frozenset()
        self._last_lines = b"Via: 1.1 %s\r\n%s" % (via, lines)
        self._hides = hide_client
        self._to_parent = to_parent

    def image(self, exchange: ExchangeToServe, server: ServerSpec, *, passes_expect: bool) -> bytes:  # noqa: ARG002
        head = exchange.head
        more = self.lines_of_connection(exchange, passes_expect=passes_expect)
        if exchange.edits is not None:
            lines = field_lines(exchange.edits.apply(self._fields(head)))
            return b"%s%s%s%s%s\r\n" % (self._start(head, None), lines, self._last_lines, self._client(exchange), more)
        image = head.image
        if image is None:
            lines = field_lines(self._fields(head))
            image = head.image = b"%s%s%s" % (self._start(head, None), lines, self._last_lines)
        return b"%s%s%s\r\n" % (image, self._client(exchange), more)

    def _fields(self, head: RequestHead) -> list[tuple[bytes, bytes]]:
        """Return the fields to pass on: none that is for this proxy."""
        fields = [
            (field.written_name, field.value)
            for field in head.block.end_to_end()
            if not field.name.startswith(b"proxy-") and not (self._hides and field.meaning == FORWARDED)
        ]
        if head.cookie_line is not None:
            fields.append((b"Cookie", head.cookie_line))
        return fields

    def _client(self, exchange: ExchangeToServe) -> bytes:
        """Return the line that tells of the client, behind those of proxies before."""
        host = b"" if self._hides else exchange.client.host.encode()
        return b"X-Forwarded-For: %s\r\n" % host if host else b""

    def _start(self, head: RequestHead, server: ServerSpec | None) -> bytes:  # noqa: ARG002 - no server has a say
        target = head.target
        if self._to_parent:
            target = b"http://%s%s" % (head.host, b"" if target == b"*" else target)
        return b"%s %s HTTP/1.1\r\nHost: %s\r\n%s" % (head.method, target, head.host, self.framing(head))
