"""The head of a response: status line and field lines (RFC 9112, section 4), and what frames its body."""

from __future__ import annotations

import attrs

from lb.http1.chunks import ChunkWalker
from lb.http1.field import FRAMING, UPGRADE
from lb.http1.field_block import FieldBlock, FieldBlocks
from lb.http1.grammar import VALUE_BYTES, MalformedError
from lb.http1.interned import InternTable, SeenOnce

__all__ = ["ResponseHead", "ResponseHeads"]

_VERSIONS = {b"HTTP/1.1 ": 1, b"HTTP/1.0 ": 0}
_STATUS_AT = 9
_LAST_CHUNK = b"0\r\n\r\n"
_SIZE = 600
"""Bytes of a head's objects, without its fields and texts."""
_WITHOUT_BODY = frozenset((204, 304))


@attrs.define
class ResponseHead:
    """What a server answers. Several responses may share it. Nobody changes it; see :class:`RequestHead`."""

    status: int
    reason: bytes
    minor: int
    """1 for HTTP/1.1, 0 for HTTP/1.0."""
    block: FieldBlock
    keep_alive: bool
    """The server does not say that it closes the connection after the response."""
    fixed: int = -1
    """The length of the body, for any method but HEAD, if a Content-Length says it; else -1."""
    images: dict[tuple[bytes | None, bytes], bytes] = attrs.field(factory=dict, eq=False, repr=False)
    """The head as it is sent to clients, by the lines that differ among them. Filled by whoever sends it."""

    @property
    def interim(self) -> bool:
        """True if another head follows: 1xx but for 101."""
        return self.status < 200 and self.status != 101

    def bodiless(self, method: bytes) -> bool:
        """Return True if no body follows, whatever the fields say, as answer to a request of this method."""
        return method == b"HEAD" or self.status < 200 or self.status in _WITHOUT_BODY

    def is_whole_in_chunks(self, rest: memoryview, max_trailer: int) -> bool:
        """Return True if ``rest`` is the whole body, in chunks, for any method but HEAD.

        ``max_trailer`` limits the bytes of trailers. A malformed body is not whole.
        """
        if rest[-len(_LAST_CHUNK) :] != _LAST_CHUNK or not self.block.chunked or self.bodiless(b"GET"):
            return False
        walker = ChunkWalker(max_trailer)
        try:
            return walker.walk(rest) == len(rest) and walker.done
        except MalformedError:
            return False


class ResponseHeads:
    """Reads heads of responses; those that come again are looked up."""

    def __init__(self) -> None:
        self._heads: InternTable[ResponseHead] = InternTable(_memory)
        self.known = self._heads.young
        """Heads that came lately, by their bytes: a look-up saves :meth:`read`."""
        self._blocks = FieldBlocks()
        self._seen = SeenOnce()

    def read(self, data: bytes) -> ResponseHead:
        """Return the head of these bytes, which end with the empty line. Raises MalformedError."""
        head = self._heads.find(data)
        if head is None:
            line, _, block = data[:-2].partition(b"\r\n")
            head = _response(line, self._blocks.read(block))
            if not head.block.meanings & UPGRADE and self._seen.again(data):
                self._heads.put(data, head)
        return head


def _memory(head: ResponseHead) -> int:
    return _SIZE + head.block.memory


def _response(line: bytes, block: FieldBlock) -> ResponseHead:
    minor = _VERSIONS.get(line[:_STATUS_AT])
    status, _, reason = line[_STATUS_AT:].partition(b" ")
    if minor is None or len(status) != 3 or not status.isdigit() or not b"100" <= status <= b"599":
        raise MalformedError("the status line is not of HTTP/1.1 or HTTP/1.0")
    if reason.translate(None, VALUE_BYTES):
        raise MalformedError("the reason has a control character")
    if minor == 0 and block.chunked:
        raise MalformedError("HTTP/1.0 with Transfer-Encoding")
    if int(status) < 200 and block.meanings & FRAMING:
        raise MalformedError("an interim response with the length of a body")
    options = block.options
    keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
    head = ResponseHead(int(status), reason, minor, block, keep_alive)
    if block.length is not None and not head.bodiless(b"GET"):
        head.fixed = block.length
    return head
