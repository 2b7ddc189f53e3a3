"""The fields of a message of HTTP/2, decoded and judged (RFC 9113, section 8)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import attrs

from lb.http1.grammar import MAX_FIELDS, MalformedError
from lb.http2.hpack_field import FieldKind, HpackField
from lb.http2.urgency import DEFAULT_URGENCY

__all__ = ["FieldSection", "SectionKind", "read_section"]

_SIZE = 1700
"""Bytes of the objects of a section without its fields, and of a head that its owner keeps with it."""
_FIELD_SIZE = 500
"""The same of a field, beside its text."""


class SectionKind(IntEnum):
    """What a section can be, as its pseudo-headers say."""

    TRAILERS = 0
    """None, so it cannot be a head either."""
    REQUEST = 1
    RESPONSE = 2
    MALFORMED = 3
    TOO_LARGE = 4
    """More bytes or fields than are allowed: it has no fields."""


@attrs.define(eq=False)
class FieldSection:
    """A head or trailers. Those that an owner gets are valid. Many messages may share a section, as with
    :class:`lb.http1.request_head.RequestHead`: nobody changes it but ``kept`` and ``kept_with_body``."""

    kind: SectionKind
    method: bytes = b""
    """Of a request; else empty."""
    scheme: bytes = b""
    """``http``, ``https`` or another; empty for CONNECT without ``protocol``, and if it is no request."""
    authority: bytes = b""
    """As sent, from ``:authority`` or, without it, Host. Empty if there is neither."""
    path: bytes = b""
    """As sent: ``/path?query``, or ``*`` of OPTIONS; empty as ``scheme`` is."""
    protocol: bytes = b""
    """Of an extended CONNECT (RFC 8441); else empty."""
    status: int = 0
    """Of a response: 100 to 599 but 101; else 0."""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    """Names in lower case and values, in their order, without pseudo-headers and Host. All Cookie fields are one,
    joined by ``; ``. None is of connections of HTTP/1 only (``te: trailers`` may be there). MAX_FIELDS at most."""
    length: int = -1
    """Content-Length; -1 = there is none."""
    urgency: int = DEFAULT_URGENCY
    """What the field ``priority`` says."""
    plain: bool = False
    """It is a request for no other protocol, and has no length of a body: nothing is to be asked of it."""
    size: int = 0
    """Bytes as SETTINGS_MAX_HEADER_LIST_SIZE counts them."""
    problem: str = ""
    """Why it is malformed."""
    kept: Any = attrs.field(default=None, init=False, repr=False)
    """For the owner: what it has made of this section, as a RequestHead with its route. It lives as long as the section
    is known, and is shared by all connections with the same :class:`~lb.http2.hpack_reader.FieldSections`."""

    kept_with_body: Any = attrs.field(default=None, init=False, repr=False)
    """The same, of a message whose body follows."""

    def with_path(self, path: bytes) -> FieldSection:
        """Return the same request for another path, which was judged."""
        return FieldSection(
            self.kind,
            self.method,
            self.scheme,
            self.authority,
            path,
            self.protocol,
            0,
            self.fields,
            self.length,
            self.urgency,
            self.plain,
            self.size - len(self.path) + len(path),
        )

    @property
    def memory(self) -> int:
        """About how many bytes it takes, with what its owner keeps."""
        return _SIZE + self.size + _FIELD_SIZE * len(self.fields)


def read_section(fields: Iterable[HpackField], size: int) -> FieldSection:
    """Return what fields mean together. ``size``: of them all, as :attr:`HpackField.size` counts.

    It is malformed if no message of HTTP/2 could have these fields.
    """
    try:
        return _section(fields, size)
    except MalformedError as error:
        return FieldSection(SectionKind.MALFORMED, problem=str(error))


def _section(fields: Iterable[HpackField], size: int) -> FieldSection:
    special: dict[FieldKind, HpackField] = {}
    pairs: list[tuple[bytes, bytes]] = []
    cookies: list[bytes] = []
    cookie_at = 0
    for field in fields:
        kind = field.kind
        if kind is FieldKind.REGULAR:
            pairs.append(field.pair)
        elif kind is FieldKind.COOKIE:
            cookie_at = cookie_at if cookies else len(pairs)
            cookies.append(field.pair[1])
        else:
            _note(field, special, is_late=bool(pairs or cookies))
            if kind < FieldKind.METHOD and kind is not FieldKind.HOST:
                pairs.append(field.pair)
    if cookies:
        pairs.insert(cookie_at, (b"cookie", b"; ".join(cookies)))
    if len(pairs) > MAX_FIELDS:
        return FieldSection(SectionKind.TOO_LARGE)
    section = FieldSection(SectionKind.TRAILERS, fields=tuple(pairs), size=size)
    if special:
        _read_special(section, special)
    return section


def _note(field: HpackField, special: dict[FieldKind, HpackField], *, is_late: bool) -> None:
    kind = field.kind
    if kind is FieldKind.MALFORMED:
        raise MalformedError(field.problem)
    if kind >= FieldKind.METHOD and (is_late or FieldKind.HOST in special):
        raise MalformedError("a pseudo-header after a field")
    if kind in special:
        if kind is FieldKind.PRIORITY:
            return
        raise MalformedError("a field stands twice that may stand once")
    special[kind] = field


def _read_special(section: FieldSection, special: dict[FieldKind, HpackField]) -> None:
    """Read what has a meaning for the message as a whole. Raises MalformedError."""
    if FieldKind.LENGTH in special:
        section.length = special[FieldKind.LENGTH].number
    if FieldKind.PRIORITY in special:
        section.urgency = special[FieldKind.PRIORITY].number
    pseudo = {kind: field.pair[1] for kind, field in special.items() if kind >= FieldKind.METHOD}
    if FieldKind.STATUS in pseudo:
        if len(pseudo) > 1:
            raise MalformedError("pseudo-headers of a request beside a status")
        section.kind, section.status = SectionKind.RESPONSE, special[FieldKind.STATUS].number
    elif pseudo:
        _read_request(section, pseudo, special.get(FieldKind.HOST))


def _read_request(section: FieldSection, pseudo: dict[FieldKind, bytes], host: HpackField | None) -> None:
    get = pseudo.get
    section.kind, section.method = SectionKind.REQUEST, get(FieldKind.METHOD, b"")
    section.scheme, section.path = get(FieldKind.SCHEME, b""), get(FieldKind.PATH, b"")
    section.protocol, section.authority = get(FieldKind.PROTOCOL, b""), get(FieldKind.AUTHORITY, b"")
    if not section.method:
        raise MalformedError("a request without :method")
    if section.method == b"CONNECT" and not section.protocol:
        if section.scheme or section.path or not section.authority:
            raise MalformedError("CONNECT needs :authority alone")
    elif section.protocol and (section.method != b"CONNECT" or not section.authority):
        raise MalformedError(":protocol is for CONNECT with :authority")
    elif not (section.scheme and section.path):
        raise MalformedError("a request without :scheme or :path")
    elif not (section.path.startswith(b"/") or (section.path == b"*" and section.method == b"OPTIONS")):
        raise MalformedError(":path is no path")
    if host is not None:
        if section.authority and section.authority.lower() != host.pair[1].lower():
            raise MalformedError(":authority and Host differ")
        section.authority = section.authority or host.pair[1]
    section.plain = not section.protocol and section.length <= 0
