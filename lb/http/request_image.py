"""The head of a request as its server gets it: written anew from what was read, with the changes of its route."""

from __future__ import annotations

from lb.http.carrier import ExchangeToServe
from lb.http.forwarded import host_line
from lb.http.header_edits import FieldEdits
from lb.http.rewriting import TargetChange
from lb.http.templates import RequestValues
from lb.http1.field import FORWARDED
from lb.http1.request_head import RequestHead
from lb.http1.wire import CHUNKED, VIA, field_lines, length_line
from lb.model import RouteSpec, ServerSpec

__all__ = ["RequestImages"]

_FORWARDED_NAMES = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"))

_OF_ONE_REQUEST = frozenset((b"forwarded", b"x-forwarded-for", b"x-request-id"))


class RequestImages:
    """Makes the heads of the requests of a route."""

    def __init__(self, spec: RouteSpec) -> None:
        self._spec = spec
        self._edits = FieldEdits(spec.request_headers)
        self._target = TargetChange(spec)
        self._host = b"" if spec.host_header in ("client", "server") else spec.host_header.encode()
        self._to_server = spec.host_header == "server"
        constant = self._edits.constant
        self.usual = not self._to_server and constant is not None and not constant.names & _FORWARDED_NAMES
        """Most of the head is the same for all clients and servers."""
        self.own_fields = self._edits.varying | _OF_ONE_REQUEST | {name.lower().encode() for name in spec.auth_headers}
        """Fields, in lower case, that servers get from here, with other values for other requests."""

    def image(self, exchange: ExchangeToServe, server: ServerSpec, *, passes_expect: bool) -> bytes:
        """Return the head for a server."""
        head = exchange.head
        more = self.lines_of_connection(exchange, passes_expect=passes_expect)
        if self.usual and exchange.told is None and exchange.edits is None:
            common = head.image or self.common(head)
            return b"%s%s%s\r\n%s\r\n" % (common, exchange.carrier.forwarded_lines, exchange.id.encode(), more)
        return b"%s%s%s\r\n" % (self._start(head, server), self._changed_lines(exchange), more)

    def lines_of_connection(self, exchange: ExchangeToServe, *, passes_expect: bool) -> bytes:
        """Return the lines about another protocol, and about a body that waits."""
        head = exchange.head
        if head.block.is_bare:
            return b""
        lines = b"Connection: upgrade\r\nUpgrade: %s\r\n" % head.upgrade if head.upgrade else b""
        return lines + b"Expect: 100-continue\r\n" if passes_expect and exchange.expects_continue else lines

    def common(self, head: RequestHead) -> bytes:
        """Return what is the same for all clients, and keep it with the head as ``image``.

        What servers are told of the client follows it.
        """
        if self._edits:
            found = self._start(head, None) + self._lines(head) + host_line(head)
        else:
            cookie = b"" if head.cookie_line is None else b"Cookie: %s\r\n" % head.cookie_line
            before, behind = self._around_cookies(head)
            found = b"%s %s%s%s%s" % (head.method, self._target.target(head), before, cookie, behind)
        head.image = found
        return found

    def _around_cookies(self, head: RequestHead) -> tuple[bytes, bytes]:
        """Return what follows the target, before and behind cookies. It is kept with the fields, for other targets."""
        block = head.block
        if block.written is not None and block.written[0] is self and head.host is block.host:
            return block.written[1]
        lines = self._first_lines(head, None) + block.lines_not_forwarded, host_line(head)
        if head.host is block.host:
            block.written = (self, lines)
        return lines

    def _lines(self, head: RequestHead) -> bytes:
        constant = self._edits.constant
        assert constant is not None  # noqa: S101 - see usual
        return field_lines(constant.apply(_fields(head, forwarded=False)))

    def _start(self, head: RequestHead, server: ServerSpec | None) -> bytes:
        return b"%s %s%s" % (head.method, self._target.target(head), self._first_lines(head, server))

    def _first_lines(self, head: RequestHead, server: ServerSpec | None) -> bytes:
        """Return the end of the request line, Host, framing and Via."""
        framing = self.framing(head)
        host = self._host or (head.host if not self._to_server else b"")
        if not host:
            host = b"localhost" if server is None or server.address.is_unix else server.address.text.encode()
        return b" HTTP/1.1\r\nHost: %s\r\n%s%s" % (host, framing, VIA)

    def framing(self, head: RequestHead) -> bytes:
        """Return the line that frames the body, if there is one."""
        block = head.block
        return CHUNKED if block.chunked else b"" if block.length is None else length_line(block.length)

    def _changed_lines(self, exchange: ExchangeToServe) -> bytes:
        """Return the lines of a request with changes of its own."""
        head, told = exchange.head, exchange.told
        if told is None:
            fields = _fields(head, forwarded=False) + list(exchange.forwarded())
        else:
            fields = told.apply(_fields(head, forwarded=True))
        if exchange.edits is not None:
            fields = exchange.edits.apply(fields)
        if self._edits:
            values = RequestValues(head, exchange.client.host.encode(), exchange.scheme, exchange.id.encode())
            fields = self._edits.change(values).apply(fields)
        return field_lines(fields)


def _fields(head: RequestHead, *, forwarded: bool) -> list[tuple[bytes, bytes]]:
    """Return the fields to pass on. ``forwarded``: with what a proxy tells of its client."""
    fields = [
        (field.written_name, field.value)
        for field in head.block.end_to_end()
        if forwarded or field.meaning != FORWARDED
    ]
    if head.cookie_line is not None:
        fields.append((b"Cookie", head.cookie_line))
    return fields
