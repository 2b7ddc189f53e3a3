"""A relay of the fast splicer with bandwidth limits, with TLS on any side or on none. Its bytes are never spliced."""

from __future__ import annotations

from lb.relay.bandwidth import Bandwidth, Meter
from lb.relay.epoll_relay import EpollRelay, TimedRelay
from lb.relay.epoll_tls import FirstByteTlsSide, TlsRelay, TlsSide

__all__ = ["LimitedRelay", "TimedLimitedRelay", "limit"]


class LimitedSide(TlsSide):
    """A side that reads only what its meter lets pass."""

    __slots__ = ("meter",)
    meter: Meter

    def _receive(self, most: int) -> int:
        allowed = self.meter.allowed()
        if not allowed:
            raise BlockingIOError  # as from a socket without bytes; the meter resumes this side
        received = super()._receive(min(most, allowed))
        self.meter.take(received)
        return received

    def pump(self) -> None:
        meter = self.meter
        super().pump()
        if not (self.queued or meter.waits):
            meter.release()

    def resume(self) -> None:
        """Implements :class:`lb.relay.bandwidth.Metered`."""
        self.readable = True
        self.continue_later()

    def close(self) -> None:
        self.meter.release()
        super().close()


class LimitedRelay(TlsRelay):
    """A relay with bandwidth limits."""

    __slots__ = ()
    side_type = LimitedSide


class _FirstByteLimitedSide(LimitedSide, FirstByteTlsSide):
    """A side of a timed relay with bandwidth limits, before its first byte of the stream."""

    __slots__ = ()


class TimedLimitedRelay(TimedRelay):
    """A relay with bandwidth limits that records the time to the server's first byte."""

    __slots__ = ()
    side_type = _FirstByteLimitedSide
    untimed_side_type = LimitedSide


def limit(relay: EpollRelay, bandwidth: Bandwidth) -> None:
    """Set the limits of a relay made of :class:`LimitedSide`."""
    for side, meter in ((relay.client, bandwidth.inwards), (relay.server, bandwidth.outwards)):
        assert isinstance(side, LimitedSide)  # noqa: S101 - see side_type
        side.meter = meter
        meter.side = side
