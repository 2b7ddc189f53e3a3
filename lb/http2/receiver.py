"""What a connection of HTTP/2 tells its owner."""

from __future__ import annotations

from typing import Protocol

from lb.http2.field_section import FieldSection
from lb.http2.stream import Http2Stream

__all__ = ["Http2Receiver"]


class Http2Receiver(Protocol):
    """The owner of an :class:`~lb.http2.connection.Http2Connection`.

    All calls come from within ``feed`` and ``resume``, in the order of the frames. Each may call any method of the
    connection but these two. What it raises passes through, and leaves the connection unusable.

    A stream is told about until its end: ``ended`` in one of the calls is the end of what the peer sends. A stream that
    is reset gets :meth:`stream_reset` and nothing more.
    """

    def head_received(self, stream: Http2Stream, section: FieldSection, *, ended: bool) -> None:
        """A request (the peer is a client), or the head of a response: interim ones first (``section.status`` < 200,
        never ``ended``).

        The section is valid by RFC 9113, section 8. ``stream`` is new for a request: set its ``owner``.
        """

    def head_too_large(self, stream: Http2Stream, *, ended: bool) -> None:
        """As :meth:`head_received` or :meth:`trailers_received`, of more than ``max_header_list`` bytes or too many
        fields: answer 431 or reset the stream. What follows on the stream is told as usual."""

    def data_received(self, stream: Http2Stream, data: memoryview, *, ended: bool) -> None:
        """A part of a body, empty only if ``ended``. ``data`` is a view of what ``feed`` was given, and keeps all of
        that in memory as long as it is kept.

        The peer may send as much again only once ``consumed(stream, len(data))`` was called, now or later.
        """

    def trailers_received(self, stream: Http2Stream, section: FieldSection) -> None:
        """The end of a body that has trailers."""

    def stream_malformed(self, stream: Http2Stream, problem: str) -> None:
        """A request that is malformed. The stream was reset with PROTOCOL_ERROR and has no owner: this is for records.

        What becomes malformed later gets :meth:`stream_reset`.
        """

    def stream_reset(self, stream: Http2Stream, code: int, *, by_peer: bool) -> None:
        """The stream is gone: by RST_STREAM, by a GOAWAY that says that the peer has not seen it (REFUSED_STREAM: it
        may be sent again), or by an error of the peer's on it (``by_peer`` False). Not called for ``reset``."""

    def can_send(self, stream: Http2Stream) -> None:
        """There is room again for a stream whose ``send_data`` took less than it was given. Streams of lower
        ``urgency`` come first, equal ones in turn."""

    def goaway_received(self, last_stream: int, code: int, debug: bytes) -> None:
        """The peer will take no further streams; those that it has not seen were reset before. Also called again."""

    def settings_received(self) -> None:
        """The peer's settings have changed: ``room`` may have."""
