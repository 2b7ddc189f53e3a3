"""The head of a request: request line and field lines (RFC 9112, sections 3 and 5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

from lb.http1.cookies import cookie_value
from lb.http1.derived import derived
from lb.http1.field import AUTHORIZATION, CHUNKED, COOKIE, EXPECT, FRAMING, UPGRADE
from lb.http1.field_block import FieldBlock, FieldBlocks
from lb.http1.grammar import VALUE_BYTES, MalformedError
from lb.http1.interned import InternTable, SeenOnce
from lb.http1.target import query_value, routing_path, split_absolute, without_signature

__all__ = ["ReadTarget", "RequestHead", "RequestHeads"]

ReadTarget: TypeAlias = Callable[[bytes, bytes, bytes], tuple[bytes, bytes]]
"""Returns host and target of a request whose target is not a path, from its method, its target and its Host in lower
case. Raises MalformedError."""

_TARGET_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))
_METHOD_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
"""A token might have more, but no method in use does, and servers differ in whether ``get`` is GET."""
_MAX_METHOD = 32
_VERSIONS: Mapping[bytes, int] = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
_SHOWN_VERSIONS = ("1.0", "1.1", "2")
_GRPC = re.compile(rb"application/grpc(?:[+;].*)?", re.DOTALL)
_OTHER_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_NOT_INTERNED = FRAMING | EXPECT | UPGRADE | AUTHORIZATION
_UNUSUAL = (b"HEAD", b"CONNECT")
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
_USUAL_METHODS = _IDEMPOTENT | {b"POST", b"PATCH"}
_SIZE = 1000
"""Bytes of a head's objects and of what is derived from it, without its fields and texts."""
_SLASH = ord("/")
_COOKIE_LINES = (b"\r\nCookie: ", b"\r\ncookie: ")


@attrs.define(slots=False)  # the derived values below are kept in the instance
class RequestHead:
    """What a request asks for. It holds nothing of the connection that it came on, so several requests may share it.

    Nobody changes it. It is not frozen, as that would make a new head cost more.
    """

    method: bytes
    target: bytes
    """As sent; of a URL the part after the host. ``*`` only for OPTIONS, ``host:port`` only for CONNECT."""
    host: bytes
    """In lower case, with the port if there is one; empty in HTTP/1.0 without Host."""
    minor: int
    """1 for HTTP/1.1, 0 for HTTP/1.0, 2 for HTTP/2."""
    block: FieldBlock
    """The fields. The Cookie line, if there is but one, was cut out of it."""
    cookie_line: bytes | None
    plain: bool
    """Nothing is unusual: no HTTP/1.0, no body, no other protocol, and neither HEAD nor CONNECT."""
    was_path: bool = True
    """The target came as a path, not as a URL."""
    route: Any = attrs.field(default=None, init=False, eq=False, repr=False)
    """Its route, once whoever knows the routes has found it."""
    image: bytes | None = attrs.field(default=None, init=False, eq=False, repr=False)
    """What a server gets of it, kept by whoever has written it."""
    without_cookie: RequestHead | None = attrs.field(default=None, init=False, eq=False, repr=False)
    """The same head without the Cookie line that was cut out, and without a link: heads that differ only in these share
    it."""
    link_until: float | None = attrs.field(default=None, init=False, eq=False, repr=False)
    """When the viewer's link ends that was taken off the target, in seconds since 1970; 0 = it is not valid, None =
    there was none."""

    def with_cookie(self, value: bytes) -> RequestHead:
        """Return the same head with a Cookie line."""
        head = RequestHead(
            self.method, self.target, self.host, self.minor, self.block, value, self.plain, self.was_path
        )
        head.route = self.route
        head.without_cookie = self
        return head

    def with_link(self, until: float) -> RequestHead:
        """Return the same head with a viewer's link that ends then, in seconds since 1970; 0 = it is not valid."""
        head = RequestHead(
            self.method, self.target, self.host, self.minor, self.block, self.cookie_line, self.plain, self.was_path
        )
        head.route = self.route
        head.without_cookie = self.without_cookie or self
        head.link_until = until
        return head

    @derived
    def keep_alive(self) -> bool:
        """True if the client does not ask to close the connection after the response."""
        options = self.block.options
        return b"close" not in options and (self.minor > 0 or b"keep-alive" in options)

    @derived
    def usual(self) -> bool:
        """True if the connection stays open, without a word about it."""
        return self.keep_alive and self.minor == 1

    @derived
    def path(self) -> bytes:
        """The path for routes (:func:`lb.http1.target.routing_path`). Raises MalformedError."""
        return routing_path(self.target)

    @derived
    def upgrade(self) -> bytes:
        """The protocols that the client offers to switch to, without ``h2c``; empty if there are none."""
        if not self.block.meanings & UPGRADE or b"upgrade" not in self.block.options or self.minor == 0:
            return b""
        offers = b",".join(self.block.get_all(b"upgrade")).split(b",")
        return b", ".join(offer for offer in map(bytes.strip, offers) if offer and offer.lower() != b"h2c")

    @derived
    def has_body(self) -> bool:
        """True if a body follows: RFC 9112, section 6.3."""
        return bool(self.block.meanings & CHUNKED or self.block.length)

    @derived
    def is_grpc(self) -> bool:
        """True for a call of gRPC. There are none of HTTP/1."""
        return self.minor > 1 and _GRPC.fullmatch(self.block.get(b"content-type") or b"") is not None

    @derived
    def repeats(self) -> bool:
        """True if the request may be sent again, once a server may have seen it: RFC 9110, section 9.2.2."""
        return self.method in _IDEMPOTENT

    @derived
    def described(self) -> tuple[str, str, str, str]:
        """Method, host, path and version, as records have them."""
        version = _SHOWN_VERSIONS[self.minor] if self.method else ""
        path = without_signature(self.target.partition(b"?")[0])
        return self.method.decode(), self.host.decode(), path.decode(), version

    @derived
    def cookies(self) -> bytes | None:
        """The value of all Cookie lines together, if there is one."""
        if self.cookie_line is not None:
            return self.cookie_line
        values = self.block.get_all(b"cookie")
        return b"; ".join(values) if values else None

    # As lb.model.request.Request

    @property
    def uri(self) -> bytes:
        return self.target

    def header(self, name: bytes) -> bytes | None:
        name = name.lower()
        return self.cookies if name == b"cookie" else self.block.get(name)

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of all fields of this name, which is in lower case; of cookies all together."""
        if name == b"cookie":
            return [] if self.cookies is None else [self.cookies]
        return self.block.get_all(name)

    def cookie(self, name: bytes) -> bytes | None:
        cookies = self.cookies
        return cookie_value(cookies, name) if cookies is not None else None

    def query(self, name: bytes) -> bytes | None:
        return query_value(self.target, name)


class RequestHeads:
    """Reads heads of requests; those that come again are looked up. One for each listener and configuration.

    ``read_target`` is for another kind of server than a reverse proxy.
    """

    versions: Mapping[bytes, int] = _VERSIONS
    """The ``minor`` of heads, by the end of their first lines."""

    def __init__(self, read_target: ReadTarget | None = None) -> None:
        self._read_target = read_target or _host_and_target
        self._heads: InternTable[RequestHead] = InternTable(_memory)
        self.known = self._heads.young
        """Heads that came lately, by their bytes: a look-up saves :meth:`read`."""
        self._blocks = FieldBlocks()
        self._seen = SeenOnce()

    def read(self, data: bytes) -> RequestHead:
        """Return the head of these bytes, which end with the empty line. Raises MalformedError."""
        return self._look_up(data, self._parse)

    def _look_up(self, data: bytes, parse: Callable[[bytes], RequestHead]) -> RequestHead:
        head = self._heads.find(data)
        if head is None:
            head = parse(data)
            if not head.block.meanings & _NOT_INTERNED and self._seen.again(data):
                self._heads.put(data, head)
        return head

    def _parse(self, data: bytes) -> RequestHead:
        for start in _COOKIE_LINES:
            before, found, after = data.partition(start)
            if found:
                head = self._parse_with_cookie(before, after)
                if head is not None:
                    return head
                break
        return self._parse_all(data)

    def _parse_with_cookie(self, before: bytes, after: bytes) -> RequestHead | None:
        """Read a head without its Cookie line, as cookies differ where all else is the same. Each line is judged alone.

        None if there are more Cookie lines: they stay in their order.
        """
        cookie, _, after = after.partition(b"\r\n")
        if cookie.translate(None, VALUE_BYTES):
            raise MalformedError("a header's value has a control character")
        rest = b"%s\r\n%s" % (before, after)
        if any(start in rest for start in _COOKIE_LINES):  # it may have been read before by itself, without this line
            return None
        head = self._look_up(rest, self._parse_all)
        return None if head.block.meanings & COOKIE else head.with_cookie(cookie.strip(b" \t"))

    def _parse_all(self, data: bytes) -> RequestHead:
        line, _, lines = data[:-2].partition(b"\r\n")
        return _request(line, self._blocks.read(lines), self._read_target, self.versions)


def _memory(head: RequestHead) -> int:
    """Return about how many bytes a head takes, without the bytes that it came as."""
    return _SIZE + head.block.memory + (0 if head.without_cookie is None else _SIZE)


def _request(line: bytes, block: FieldBlock, read_target: ReadTarget, versions: Mapping[bytes, int]) -> RequestHead:
    parts = line.split(b" ")
    if len(parts) != 3:
        raise MalformedError("the request line has not three parts")
    method, target, version = parts
    minor = versions.get(version)
    if minor is None:
        raise MalformedError("not HTTP/1.1 or HTTP/1.0", 505 if _OTHER_VERSION.fullmatch(version) else 400)
    if method not in _USUAL_METHODS and not _is_method(method):
        raise MalformedError("the method is not a word in capital letters")
    if not target or target.translate(None, _TARGET_BYTES):
        raise MalformedError("the target has a character that must be escaped")
    host = block.host
    if host is None:
        if minor:
            raise MalformedError("no Host")
        host = b""
    if minor == 0 and block.chunked:
        raise MalformedError("HTTP/1.0 with Transfer-Encoding")
    is_path = target[0] == _SLASH and method != b"CONNECT"
    if not is_path:
        host, target = read_target(method, target, host)
    plain = minor > 0 and block.is_bare and method not in _UNUSUAL
    return RequestHead(method, target, host, minor, block, None, plain, is_path)


def _is_method(method: bytes) -> bool:
    return 0 < len(method) <= _MAX_METHOD and not method.translate(None, _METHOD_BYTES)


def _host_and_target(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Return both for a target that is not a path."""
    if method == b"CONNECT" or (method == b"OPTIONS" and target == b"*"):
        return host, target
    return split_absolute(target, host, b"*" if method == b"OPTIONS" else b"/")
