"""Connections to servers of RTMP: names are looked up and authorities are read beside the event loop."""

from __future__ import annotations

import errno
import ssl

import trio

from lb.model.address import Address, Client, client_of
from lb.model.rtmp_address import RtmpAddress
from lb.net.cached_name import CachedName
from lb.net.client_stream import agree_on_tls, connect_to_first
from lb.net.threads import Threads
from lb.net.tls import verifying_context

__all__ = ["RtmpDialer"]

_CONNECT_TIMEOUT = 5.0
"""Seconds that all addresses of a name have together, with TLS."""
_MOST_NAMES = 256
_threads = Threads(1)


class RtmpDialer:
    """Shared by all connections of a process, which so look a name up once."""

    def __init__(self) -> None:
        self._names: dict[Address, CachedName] = {}
        self._context: ssl.SSLContext | None = None

    async def connect(self, address: RtmpAddress) -> tuple[trio.abc.Stream, Client]:
        """Connect, with TLS if the address says so. Return the peer's address, too. Raises OSError in bounded time."""
        with trio.move_on_after(_CONNECT_TIMEOUT):
            context = await self._trusting() if address.tls else None
            plain = await connect_to_first(await self._name(address.server).targets())
            peer = client_of(plain.socket.getpeername())
            return plain if context is None else await agree_on_tls(plain, context, address.host), peer
        raise TimeoutError(errno.ETIMEDOUT, "timed out")

    def _name(self, address: Address) -> CachedName:
        if address not in self._names:
            if len(self._names) >= _MOST_NAMES:  # of configurations long gone
                self._names.clear()
            self._names[address] = CachedName(address)
        return self._names[address]

    async def _trusting(self) -> ssl.SSLContext:
        """Return a context that verifies servers by the CA certificates of the system."""
        if self._context is None:
            self._context = await _threads.run(_trusting_system)
        return self._context


def _trusting_system() -> ssl.SSLContext:
    return verifying_context(verify=True)
