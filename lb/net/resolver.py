"""Resolution of configured addresses to socket addresses. Host names are looked up repeatedly, in the background."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import trio

from lb.model import ServerSpec
from lb.model.address import Address, SocketAddress

__all__ = ["all_static_targets", "keep_resolved", "look_up", "static_targets", "targets_of"]

LOOK_UP_TIMEOUT = 5.0
"""Timeout of one lookup in seconds. getaddrinfo has no limit; resolv.conf(5) also gives a name server 5 s."""
ADDRESSES_PER_TURN = 64
"""Addresses parsed before traffic is served: about 0.2 ms."""


def static_targets(address: Address) -> tuple[SocketAddress, ...]:
    """Return the socket address of a unix path or an IP literal, without a lookup. Empty for a host name."""
    if address.is_unix:
        return ((socket.AF_UNIX, address.path),)
    if address.is_name:
        return ()
    if ":" in address.host:
        return ((socket.AF_INET6, (address.host, address.port)),)
    return ((socket.AF_INET, (address.host, address.port)),)


async def all_static_targets(servers: Iterable[ServerSpec]) -> dict[Address, tuple[SocketAddress, ...]]:
    """Return :func:`static_targets` of all servers. Traffic is served in between."""
    targets = {}
    for number, server in enumerate(servers):
        targets[server.address] = static_targets(server.address)
        if not number % ADDRESSES_PER_TURN:
            await trio.lowlevel.checkpoint()
    return targets


async def targets_of(
    servers: Iterable[ServerSpec], known: Mapping[Address, tuple[SocketAddress, ...]]
) -> dict[Address, tuple[SocketAddress, ...]]:
    """Resolve the addresses of all servers. Only unknown names are looked up, concurrently.

    A name whose lookup fails has no targets. The server's own task retries it later.
    """
    static = await all_static_targets(servers)
    targets = {address: known.get(address) or targets for address, targets in static.items()}

    async def resolve(address: Address) -> None:
        with suppress(OSError):
            targets[address] = await look_up(address)

    async with trio.open_nursery() as nursery:
        for address, known_targets in targets.items():
            if not known_targets:
                nursery.start_soon(resolve, address)
    return targets


async def look_up(address: Address) -> tuple[SocketAddress, ...]:
    """Return all addresses of a host name, in the system's order of preference (getaddrinfo).

    Raises OSError if there is none, or TimeoutError without an answer in time.
    """
    with trio.move_on_after(LOOK_UP_TIMEOUT):
        try:
            found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise OSError(f"{address.host} is not a valid host name: {error}") from error
        return tuple(dict.fromkeys((family, target) for family, _, _, _, target in found))
    raise TimeoutError(f"no answer in {LOOK_UP_TIMEOUT:g} s")


async def keep_resolved(
    address: Address,
    *,
    interval: Callable[[], float],
    found: Callable[[tuple[SocketAddress, ...]], None],
    failed: Callable[[OSError], None],
) -> None:
    """Look a name up now and every ``interval()`` seconds, until cancelled. A failed lookup changes no targets."""
    while True:
        try:
            found(await look_up(address))
        except OSError as error:
            failed(error)
        await trio.sleep(interval())
