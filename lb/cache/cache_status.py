"""The member that this cache adds to Cache-Status (RFC 9211)."""

from __future__ import annotations

import functools
from typing import Literal, TypeAlias

__all__ = ["Forward", "cache_status"]

Forward: TypeAlias = Literal["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"]
"""Why a request went to a server: section 2.2."""


@functools.lru_cache(maxsize=256)
def cache_status(
    *,
    forward: Forward | None = None,
    server_status: int | None = None,
    ttl: float | None = None,
    stored: bool = False,
    collapsed: bool = False,
    detail: str = "",
) -> bytes:
    """Return the member for a response: ``trio-lb; hit; ttl=30``, ``trio-lb; fwd=miss; stored``.

    ``forward`` is None for a hit. ``server_status`` is that of the server's response where the client gets another.
    ``ttl`` is the time in seconds that the response is still fresh, below 0 if it is not. ``detail`` is a token.
    """
    words = ["trio-lb", "hit" if forward is None else f"fwd={forward}"]
    if server_status is not None:
        words.append(f"fwd-status={server_status}")
    if ttl is not None:
        words.append(f"ttl={int(ttl // 1)}")
    words += ["stored"] * stored + ["collapsed"] * collapsed
    if detail:
        words.append(f"detail={detail}")
    return "; ".join(words).encode()
