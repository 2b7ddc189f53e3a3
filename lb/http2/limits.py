"""What a connection of HTTP/2 allows its peer."""

from __future__ import annotations

import attrs

__all__ = ["Http2Limits"]


@attrs.frozen
class Http2Limits:
    """Bounds of one connection. Sizes in bytes.

    Memory: a peer can make the owner hold at most ``max_streams`` bodies of ``stream_window`` each, and ``max_growth``
    in all above that. The connection itself holds at most what one ``feed`` gave it, one incomplete frame or header
    block (``max_header_list``), and its unread output (``max_output`` and about as much again).
    """

    max_streams: int = 100
    """Streams that the peer may have open at the same time: SETTINGS_MAX_CONCURRENT_STREAMS."""
    max_header_list: int = 32 * 1024
    """Of a header list as SETTINGS_MAX_HEADER_LIST_SIZE counts it, and of its encoded block."""
    stream_window: int = 65_535
    """Of a body that the owner has not consumed, at first: SETTINGS_INITIAL_WINDOW_SIZE."""
    max_stream_window: int = 1024 * 1024
    """What the window of a stream grows to if its owner consumes all at once."""
    max_growth: int = 4 * 1024 * 1024
    """By how much all windows together may have grown."""
    max_output: int = 64 * 1024
    """Of bodies that ``take_output`` has not taken. More is not accepted by ``send_data``."""
    max_heads_in_turn: int = 32
    """Short heads of one ``feed`` or ``resume``, or eight times as many other frames. What follows waits for
    ``resume``. Long heads count more."""
    extended_connect: bool = False
    """Clients may ask for another protocol: SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441)."""
