"""The head of a request as a server of HTTP/2 gets it: a block of fields, which any connection may send."""

from __future__ import annotations

import functools

from lb.http.carrier import ExchangeToServe
from lb.http.request_image import RequestImages
from lb.http1.request_head import RequestHead
from lb.http2.hpack_writer import encode_fields
from lb.model import RouteSpec, ServerSpec

__all__ = ["Http2Images"]

_OF_HTTP1 = frozenset((b"host", b"connection", b"transfer-encoding", b"upgrade"))
"""Fields, in lower case, that HTTP/2 has in another form, or not: RFC 9113, section 8.2.2."""
_TRAILERS = encode_fields(((b"te", b"trailers"),))


class Http2Images(RequestImages):
    """Writes heads as :class:`~lb.http.request_image.RequestImages` does, and then in the form of HTTP/2.

    ``secure``: servers get requests through TLS. They judge ``:scheme`` by that.
    """

    def __init__(self, spec: RouteSpec, *, secure: bool) -> None:
        super().__init__(spec)
        self._scheme = b"https" if secure else b"http"

    def image(self, exchange: ExchangeToServe, server: ServerSpec, *, passes_expect: bool) -> bytes:
        head = exchange.head
        expect = b"" if head.block.is_bare else self.lines_of_connection(exchange, passes_expect=passes_expect)
        if self.usual and exchange.told is None and exchange.edits is None:
            common = head.image or self.common(head)
            block = common + _forwarded(exchange.carrier.forwarded_lines, exchange.id.encode())
        else:
            block = self._block(self._start(head, server) + self._changed_lines(exchange), head)
        return block + _fields(expect) if expect else block

    def common(self, head: RequestHead) -> bytes:
        head.image = block = self._block(super().common(head), head)
        return block

    def _block(self, image: bytes, head: RequestHead) -> bytes:
        """Return what these lines say, without the empty one."""
        line, _, lines = image.partition(b"\r\n")
        method, target, _version = line.split(b" ")
        host = lines.partition(b"\r\n")[0].partition(b": ")[2]
        pseudo = (b":method", method), (b":scheme", self._scheme), (b":authority", host), (b":path", target)
        block = encode_fields(pseudo) + _fields(lines)
        return block + _TRAILERS if takes_trailers(head) else block


def takes_trailers(head: RequestHead) -> bool:
    """Return True if the client says that it takes trailers. Servers of gRPC insist on it."""
    return any(b"trailers" in value for value in head.block.get_all(b"te"))


def _fields(image: bytes) -> bytes:
    """Return the block of lines that were written here."""
    fields = [line.partition(b": ")[::2] for line in image.split(b"\r\n") if line]
    return encode_fields([(name, value) for name, value in fields if name.lower() not in _OF_HTTP1])


def _forwarded(lines: bytes, request_id: bytes) -> bytes:
    """Return the block of what servers are told of the client. The lines end where the id of the request follows.

    The id has less than 127 bytes, so its length takes one: RFC 7541, section 5.1.
    """
    return b"%s%c%s" % (_before_id(lines), len(request_id), request_id)


@functools.lru_cache(maxsize=256)
def _before_id(lines: bytes) -> bytes:
    return _fields(lines)[:-1]
