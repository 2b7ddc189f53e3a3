"""The calls that a pool makes to its strategy, for code without a pool: ``lb diff``, the strategy kit, tests."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Generator, Sequence
from typing import TypeVar

import attrs

from lb.model import Server
from lb.model.address import Client
from lb.model.request import RequestClient, client_with
from strategies.base import Strategy

__all__ = ["client", "finish", "lease", "release", "start", "use"]

T = TypeVar("T")
S = TypeVar("S", bound=Strategy)

_FIRST = int(ipaddress.IPv4Address("10.0.0.0"))
_APART = 1_677  # spreads 10,000 clients over 10.0.0.0/8


@attrs.frozen
class SampleRequest:
    """A request that differs from those with other numbers in each of its parts. It has headers of all names."""

    number: int

    @property
    def uri(self) -> bytes:
        return b"/items/%d?id=%d" % (self.number, self.number)

    @property
    def path(self) -> bytes:
        return b"/items/%d" % self.number

    @property
    def host(self) -> bytes:
        return b"%d.example.com" % self.number

    def header(self, name: bytes, /) -> bytes:  # noqa: ARG002 - has all
        return b"%d" % self.number

    cookie = query = header


def client(number: int) -> RequestClient:
    """Return one of 10,000 clients; each has its own address and port, and sends its own request."""
    address = Client(str(ipaddress.IPv4Address(_FIRST + number * _APART)), 1024 + number)
    return client_with(address, SampleRequest(number))


def finish(building: Generator[None, None, T]) -> T:
    """Run a build to its end and return its result."""
    while True:
        try:
            next(building)
        except StopIteration as done:
            result: T = done.value
            return result


def use(strategy: Strategy, servers: Sequence[Server]) -> None:
    """Apply a list of servers, as at a reload. New servers are not available yet."""
    strategy.use(servers, finish(strategy.build([server.spec for server in servers])))


def start(strategy: S, servers: Sequence[Server]) -> S:
    """Apply a list of servers and make them all available. Returns the strategy."""
    use(strategy, servers)
    for server in servers:
        strategy.enable(server)
    return strategy


def lease(strategy: Strategy, for_client: Client, tried: Collection[Server] = ()) -> Server | None:
    """Pick a server and acquire a lease, as the pool does: the connection counts from the pick."""
    server = strategy.pick(for_client, tried)
    if server is not None:
        server.leases.add(1)
        strategy.load_changed(server)
    return server


def release(strategy: Strategy, server: Server) -> None:
    """Release a lease, as at the end of a connection."""
    server.leases.add(-1)
    strategy.load_changed(server)
