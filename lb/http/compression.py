"""Whether a response is compressed, in which content coding (RFC 9110, section 8.4), and what its head says then."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from lb.http.header_edits import FieldChange
from lb.http1.accept import best_coding
from lb.http1.request_head import RequestHead

__all__ = ["CODINGS", "COMPRESSIBLE_TYPES", "Variant", "choose", "is_compressible"]

CODINGS = (b"zstd", b"br", b"gzip")
"""Of codings that a client likes equally, the first is used."""
MIN_LENGTH = 1024
"""Bytes of the smallest body that is compressed. A smaller response fits into a packet anyway."""
COMPRESSIBLE_TYPES = frozenset(
    b"application/" + name
    for name in (
        b"ecmascript",
        b"graphql",
        b"javascript",
        b"json",
        b"json-seq",
        b"jsonl",
        b"ndjson",
        b"rtf",
        b"sql",
        b"toml",
        b"vnd.apple.mpegurl",
        b"vnd.ms-fontobject",
        b"wasm",
        b"x-javascript",
        b"x-mpegurl",
        b"x-ndjson",
        b"x-yaml",
        b"xml",
        b"xml-dtd",
        b"yaml",
    )
) | {
    b"audio/mpegurl",
    b"audio/x-mpegurl",
    b"font/otf",
    b"font/ttf",
    b"image/bmp",
    b"image/vnd.microsoft.icon",
    b"image/x-icon",
}
_COMPRESSED_INSIDE = b"application/grpc"
"""gRPC compresses its messages itself, whatever they hold."""
_WITHOUT_BODY = frozenset((204, 205, 206, 304))
"""Statuses of responses that have no body, or a part of one."""
_HEEDED = frozenset(
    (b"cache-control", b"content-encoding", b"content-length", b"content-range", b"content-type", b"etag", b"vary")
)
_OF_THE_ORIGINAL = frozenset(
    (b"accept-ranges", b"content-digest", b"content-length", b"content-md5", b"digest", b"etag", b"repr-digest")
)
"""Fields that are not true of the compressed body."""
_VARY = (b"Vary", b"Accept-Encoding")


@attrs.frozen
class Variant:
    """How a response is sent that may be compressed."""

    coding: bytes
    """Empty: as it is, because the client takes no coding of ours."""
    change: FieldChange
    """What that changes in its head."""


def choose(request: RequestHead, status: int, fields: Iterable[tuple[bytes, bytes]]) -> Variant | None:
    """Return how a response with these fields is sent; None if it passes unchanged, whoever asks for it.

    ``fields`` has Content-Length if the length is known. The response to HEAD is judged, and changed, as that to GET.
    """
    found: dict[bytes, bytes] = {}
    for name, value in fields:
        key = name.lower()
        if key in _HEEDED:
            found[key] = b"%s, %s" % (found[key], value) if key in found else value
    if status == 304:
        return _not_modified(request, found)
    if status < 200 or status in _WITHOUT_BODY or not _may_be_compressed(request, found):
        return None
    coding = best_coding(_all(request, b"accept-encoding"), CODINGS) if request.minor else None
    if coding is None:
        return Variant(b"", FieldChange(fields=tuple(_vary(found))))
    added = ((b"Content-Encoding", coding), *_weak_tag(found), *_vary(found))
    return Variant(coding, FieldChange(_OF_THE_ORIGINAL, added))


def _may_be_compressed(request: RequestHead, found: dict[bytes, bytes]) -> bool:
    return (
        is_compressible(found.get(b"content-type", b""))
        and not found.get(b"content-encoding")
        and b"content-range" not in found
        and int(found.get(b"content-length", MIN_LENGTH)) >= MIN_LENGTH
        and not _lists(found.get(b"cache-control", b""), b"no-transform")
        and not _lists(_all(request, b"cache-control"), b"no-transform")
    )


def is_compressible(content_type: bytes) -> bool:
    """Return True for types of text, and for binary types that shrink as text does."""
    name = content_type.partition(b";")[0].strip(b" \t").lower()
    if name.startswith(b"text/") or name in COMPRESSIBLE_TYPES:
        return True
    return name.endswith((b"+json", b"+xml", b"+yaml", b"+text")) and not name.startswith(_COMPRESSED_INSIDE)


def _not_modified(request: RequestHead, found: dict[bytes, bytes]) -> Variant | None:
    """A client that has the compressed form knows its tag as a weak one; a strong one would be of another form."""
    for _, tag in _weak_tag(found):
        if tag in _all(request, b"if-none-match") and not found[b"etag"].startswith(b"W/"):
            return Variant(b"", FieldChange(frozenset((b"etag",)), ((b"ETag", tag), *_vary(found))))
    return None


def _weak_tag(found: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Return ETag as a weak one: the compressed bytes are not those that it stands for. Nothing if it is no tag."""
    tag = found.get(b"etag", b"").removeprefix(b"W/")
    return [(b"ETag", b"W/" + tag)] if tag.startswith(b'"') else []


def _vary(found: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Return the field that tells caches that the response depends on Accept-Encoding, if none does so yet."""
    vary = found.get(b"vary", b"")
    return [] if _lists(vary, b"accept-encoding") or _lists(vary, b"*") else [_VARY]


def _all(request: RequestHead, name: bytes) -> bytes:
    return b", ".join(request.block.get_all(name))


def _lists(value: bytes, member: bytes) -> bool:
    value = value.lower()
    return member in value and member in [each.strip(b" \t") for each in value.split(b",")]
