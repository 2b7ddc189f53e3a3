"""One stream of a connection of HTTP/2."""

from __future__ import annotations

from typing import Any

from lb.http2.urgency import DEFAULT_URGENCY

__all__ = ["Http2Stream"]


class Http2Stream:
    """A request and its response. Owners read it, and change ``owner`` and ``urgency`` only."""

    __slots__ = (
        "bodiless",
        "closed",
        "expected",
        "head_received",
        "id",
        "owner",
        "receive_window",
        "received_end",
        "send_window",
        "sent_end",
        "target_window",
        "unconsumed",
        "urgency",
    )

    def __init__(self, stream_id: int, send_window: int, receive_window: int) -> None:
        self.id = stream_id
        self.owner: Any = None
        """For the owner of the connection."""
        self.urgency = DEFAULT_URGENCY
        """Of what is sent: 0 first, 7 last. Set by the field ``priority`` and by PRIORITY_UPDATE."""
        self.sent_end = False
        """All was sent: END_STREAM."""
        self.received_end = False
        """All was received: END_STREAM."""
        self.closed = False
        """Ended on both sides, or reset: nothing can be sent, and no call comes."""
        self.head_received = False
        """The head was received, interim ones aside."""
        self.bodiless = False
        """The response has no body whatever its Content-Length says: the request is HEAD."""
        self.expected = -1
        """Bytes of the body that are still to come, as a Content-Length says; -1 = nothing said."""
        self.send_window = send_window
        """Bytes that the peer takes; may be negative."""
        self.receive_window = receive_window
        """Bytes that the peer may send."""
        self.target_window = receive_window
        """What ``receive_window`` is filled up to."""
        self.unconsumed = 0
        """Bytes received that the owner has not consumed."""
