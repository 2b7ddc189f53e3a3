"""The tcp probe: the server passes if it accepts a connection."""

from __future__ import annotations

import trio

from healthcheck.probe import Probe, Target, hang_up

__all__ = ["TcpProbe"]


class TcpProbe(Probe):
    """Connect, then close without sending anything.

    HAProxy resets the connection so early that the server's program does not see it. Here the server sees a complete,
    short connection that ends with a FIN: this works through any middlebox, and servers that speak first (SMTP, SSH)
    send their greeting and log no error.
    """

    async def check(self, target: Target) -> str:
        started = trio.current_time()
        stream = await target.connect()
        ms = (trio.current_time() - started) * 1000
        await hang_up(stream)
        return f"connected in {ms:.1f} ms"
