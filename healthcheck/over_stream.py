"""Carries a probe's connection over a stream of trio: for systems without epoll, and the readable reference."""

from __future__ import annotations

import trio

from healthcheck.connection import ProbeConnection
from healthcheck.conversation import TimedOut
from healthcheck.probe import CLOSE_TIMEOUT, Passed, Target, Word, cause_of

__all__ = ["over_stream"]


async def over_stream(connection: ProbeConnection, target: Target) -> str | Passed | Word:
    """Make one check. Returns and raises what :meth:`healthcheck.probe.Probe.check` does."""
    started = trio.current_time()
    stream = await target.connect_socket()
    try:
        connection.connected(_ms_since(started), target.proxy_header(stream.socket))
        await _converse(connection, stream, started)
        patience = min(CLOSE_TIMEOUT, (trio.current_effective_deadline() - trio.current_time()) / 2)
        with trio.move_on_after(max(0, patience)):
            while not connection.finished:
                await _carry(connection, stream, started)
    finally:
        with trio.CancelScope(shield=True):
            await stream.aclose()
    if isinstance(connection.outcome, Exception):
        raise connection.outcome
    assert connection.outcome is not None  # noqa: S101 - the loop ended
    return connection.outcome


async def _converse(connection: ProbeConnection, stream: trio.SocketStream, started: float) -> None:
    """Carry the bytes until the verdict. A cancel is the timeout, for which the script may have a better reason."""
    try:
        while connection.outcome is None:
            await _carry(connection, stream, started)
    except trio.Cancelled:
        connection.timed_out()
        if isinstance(connection.outcome, TimedOut):
            raise


async def _carry(connection: ProbeConnection, stream: trio.SocketStream, started: float) -> None:
    """Send what is to be sent, then receive once."""
    try:
        if connection.outgoing:
            await stream.send_all(connection.outgoing)
            connection.outgoing = b""
        if connection.ends_sending:
            await stream.send_eof()
        data = await stream.receive_some()
    except trio.BrokenResourceError as error:
        connection.broke(cause_of(error))
        return
    if data:
        connection.received(bytes(data), _ms_since(started))
    else:
        connection.closed(_ms_since(started))


def _ms_since(started: float) -> float:
    return (trio.current_time() - started) * 1000
