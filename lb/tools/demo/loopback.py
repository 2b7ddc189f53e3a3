"""How the clients of a demo connect."""

from __future__ import annotations

import trio

__all__ = ["connect"]


async def connect(port: int) -> trio.SocketStream:
    """Connect to a port of this host.

    Raises OSError with its errno, so that a report can tell why; ``trio.open_tcp_stream`` tells only that it failed.
    """
    client = trio.socket.socket()
    try:
        await client.connect(("127.0.0.1", port))
    except BaseException:
        client.close()
        raise
    return trio.SocketStream(client)
