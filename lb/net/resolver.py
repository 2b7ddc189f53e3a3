"""Resolution of configured addresses to socket addresses. Host names are looked up repeatedly, in the background."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import TypeAlias

import trio

from lb.model import ServerSpec
from lb.model.address import Address, SocketAddress
from lb.net.threads import Threads

__all__ = [
    "LOOK_UP_TIMEOUT",
    "MAX_LOOK_UPS",
    "RESOLUTION_DELAY",
    "all_static_targets",
    "keep_resolved",
    "look_up",
    "name_service",
    "static_targets",
    "targets_of",
]

LOOK_UP_TIMEOUT = 5.0
"""Timeout of one lookup in seconds. getaddrinfo has no limit; resolv.conf(5) also gives a name server 5 s."""
FIRST_LOOK_UP = 1.0
"""Seconds that a start or a reload waits for new names. A guess: a healthy name server takes milliseconds."""
BOTH_FAMILIES = 0.3
"""Seconds until each family is looked up by itself as well. A guess: most name servers answer sooner."""
RESOLUTION_DELAY = 0.05
"""Seconds that a first answer waits for the rest, as in RFC 8305, section 3."""
MAX_LOOK_UPS = 64
"""Concurrent calls of getaddrinfo, each with a thread and a socket. glibc gives up after 10 s."""
ADDRESSES_PER_TURN = 64
"""Addresses parsed before traffic is served: about 0.2 ms."""


def static_targets(address: Address) -> tuple[SocketAddress, ...]:
    """Return the socket address of a unix path or an IP literal, without a lookup. Empty for a host name."""
    if address.is_unix:
        return ((socket.AF_UNIX, address.unix_target),)
    if address.is_name:
        return ()
    if ":" in address.host:
        return ((socket.AF_INET6, _ipv6_target(address)),)
    return ((socket.AF_INET, (address.host, address.port)),)


def _ipv6_target(address: Address) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return the socket address of an IPv6 literal. ``fe80::1%eth0`` keeps its scope, which connect needs as a number.

    Without the interface, the scope is left out and the connect reports the error.
    """
    host, _, scope = address.host.partition("%")
    try:
        number = int(scope) if scope.isdecimal() else socket.if_nametoindex(scope) if scope else 0
    except OSError:
        number = 0
    return (host, address.port, 0, number) if number else (host, address.port)


async def all_static_targets(servers: Iterable[ServerSpec]) -> dict[Address, tuple[SocketAddress, ...]]:
    """Return :func:`static_targets` of all servers. Traffic is served in between."""
    targets = {}
    for number, server in enumerate(servers):
        targets[server.address] = static_targets(server.address)
        if not number % ADDRESSES_PER_TURN:
            await trio.lowlevel.checkpoint()
    return targets


AskNames: TypeAlias = Callable[[Address, socket.AddressFamily], Awaitable[tuple[SocketAddress, ...]]]
"""Looks up a host name in one family or, with AF_UNSPEC, in both. Raises OSError."""

_threads = Threads(MAX_LOOK_UPS, LOOK_UP_TIMEOUT)


async def _ask_system(address: Address, family: socket.AddressFamily) -> tuple[SocketAddress, ...]:
    """Ask getaddrinfo, which sorts by the system's preference."""
    host = _encoded(address.host)
    found = await _threads.run(socket.getaddrinfo, host, address.port, family, socket.SOCK_STREAM)
    return tuple(dict.fromkeys((family, target) for family, _, _, _, target in found))


def _encoded(host: str) -> bytes:
    if host.isascii():
        return host.encode()
    import idna  # noqa: PLC0415 - rare; Python's own codec knows the older IDNA 2003 only

    try:
        return idna.encode(host, uts46=True)
    except UnicodeError as error:
        raise OSError(f"{host} is not a valid host name: {error}") from error


name_service: trio.lowlevel.RunVar[AskNames] = trio.lowlevel.RunVar("name_service", _ask_system)
"""Who is asked for addresses. `lb rehearse` and tests replace it."""


async def targets_of(
    servers: Iterable[ServerSpec], known: Mapping[Address, tuple[SocketAddress, ...]]
) -> dict[Address, tuple[SocketAddress, ...]]:
    """Resolve the addresses of all servers. Only unknown names are looked up, concurrently.

    A name without an answer in FIRST_LOOK_UP seconds has no targets yet. The server's own task goes on looking.
    """
    static = await all_static_targets(servers)
    targets = {address: known.get(address, targets) for address, targets in static.items()}

    async def resolve(address: Address) -> None:
        with suppress(OSError):
            targets[address] = await look_up(address)

    with trio.move_on_after(FIRST_LOOK_UP):
        async with trio.open_nursery() as nursery:
            for address in static:
                if address.is_name and address not in known:
                    nursery.start_soon(resolve, address)
    return targets


async def look_up(address: Address) -> tuple[SocketAddress, ...]:
    """Return all addresses of a host name, in the system's order of preference.

    If one family has no answer in time, the other one's addresses are returned soon after they came.
    Raises OSError if there is none, or TimeoutError without an answer in time.
    """
    ask = name_service.get()
    found: dict[SocketAddress, None] = {}
    errors: list[OSError] = []
    async with trio.open_nursery() as nursery:

        async def look(family: socket.AddressFamily) -> None:
            try:
                answer = await ask(address, family)
            except OSError as error:
                errors.append(error)
                if family != socket.AF_UNSPEC:
                    return
            else:
                found.update(dict.fromkeys(answer))
                if family != socket.AF_UNSPEC:
                    await trio.sleep(RESOLUTION_DELAY)
            nursery.cancel_scope.cancel()

        nursery.start_soon(look, socket.AF_UNSPEC)
        await trio.sleep(BOTH_FAMILIES)
        for family in (socket.AF_INET, socket.AF_INET6):
            nursery.start_soon(look, family)
    if not found:
        raise errors[-1]
    return tuple(found)


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
