"""Responses to viewers, of live streams and of titles."""

from __future__ import annotations

from hashlib import blake2b

import attrs

__all__ = ["MediaFile", "MediaResponse", "text_response"]

PLAYLIST = "application/vnd.apple.mpegurl"
MANIFEST = "application/dash+xml"
INIT = "video/mp4"
SEGMENT = "video/iso.segment"
TEXT = "text/plain; charset=utf-8"

FOREVER = "max-age=31536000, immutable"
NO_STORE = "no-store"


@attrs.frozen
class MediaFile:
    """A file to be sent as it is, or ranges of it: :func:`lb.net.beneath.open_beneath` opens it.

    If it has another size or time then, it was replaced meanwhile.
    """

    root: str
    path: str
    """Below the directory ``root``."""
    size: int
    """In bytes."""
    modified_ns: int
    """The time of its last modification, in nanoseconds since 1970."""


@attrs.frozen
class MediaResponse:
    """A response to GET. Whether the client has it, or wants a range, is up to who sends it."""

    status: int
    media_type: str
    cache_control: str
    body: tuple[bytes, ...] = ()
    """Its pieces, in order."""
    etag: str = ""
    file: MediaFile | None = None
    """The body, in place of pieces."""
    for_all_who_wait: bool = False
    """A cache may give it to all who have asked for it meanwhile, and to nobody else."""

    def headers(self) -> list[tuple[str, str]]:
        """Return its header fields, without Content-Length."""
        fields = [
            ("Content-Type", self.media_type),
            ("Cache-Control", self.cache_control),
            ("Access-Control-Allow-Origin", "*"),
        ]
        if self.for_all_who_wait:
            fields.append(("CDN-Cache-Control", "max-age=0"))
        return [*fields, ("ETag", self.etag)] if self.etag else fields


def text_response(text: str, media_type: str, cache_control: str) -> MediaResponse:
    """Return a playlist or manifest. Its ETag is a hash: one that stays while the text changes would freeze players."""
    data = text.encode()
    return MediaResponse(200, media_type, cache_control, (data,), f'"{blake2b(data, digest_size=12).hexdigest()}"')
