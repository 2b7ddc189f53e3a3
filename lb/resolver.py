"""From a configured address to what a socket connects to. Names are looked up in the background, again and again."""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio

from lb.address import Address, SocketAddress
from lb.model import Config

__all__ = ["all_static_targets", "keep_resolved", "look_up", "static_targets"]

LOOK_UP_TIMEOUT = 5.0
"""Seconds one look-up may take; getaddrinfo itself has no limit. resolv.conf(5) gives a name server 5 s, too."""
SLICE = 64
"""Addresses read before traffic gets its turn: about 0.2 ms."""


def static_targets(address: Address) -> tuple[SocketAddress, ...]:
    """What an address says by itself: a unix path or an IP literal. Empty for a host name."""
    if address.is_unix:
        return ((socket.AF_UNIX, address.path),)
    if address.is_name:
        return ()
    if ":" in address.host:
        return ((socket.AF_INET6, (address.host, address.port)),)
    return ((socket.AF_INET, (address.host, address.port)),)


async def all_static_targets(config: Config) -> dict[Address, tuple[SocketAddress, ...]]:
    """What the addresses of all servers say by themselves. Traffic gets its turn."""
    targets = {}
    for pool in config.pools.values():
        for number, server in enumerate(pool.servers):
            targets[server.address] = static_targets(server.address)
            if not number % SLICE:
                await trio.lowlevel.checkpoint()
    return targets


async def look_up(address: Address) -> tuple[SocketAddress, ...]:
    """All addresses of a host name, in the system's order of preference (getaddrinfo).

    Raises OSError if there is none, or no answer in time.
    """
    with trio.move_on_after(LOOK_UP_TIMEOUT):
        try:
            found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise OSError(f"{address.host} cannot be a host name: {error}") from error
        return tuple(dict.fromkeys((family, target) for family, _, _, _, target in found))
    raise TimeoutError(f"no answer in {LOOK_UP_TIMEOUT:g} s")


async def keep_resolved(
    address: Address,
    *,
    interval: Callable[[], float],
    found: Callable[[tuple[SocketAddress, ...]], None],
    failed: Callable[[OSError], None],
) -> None:
    """Look a name up now and every ``interval()`` seconds, for ever. A failed look-up changes nothing."""
    while True:
        try:
            found(await look_up(address))
        except OSError as error:
            failed(error)
        await trio.sleep(interval())
