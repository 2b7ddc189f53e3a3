"""Consistent hashing: a client keeps its server, and a change of the list moves few clients.

What of a client is hashed is in :mod:`strategies.hash_keys`.
The tables are in :mod:`strategies.maglev` and :mod:`strategies.ketama`.
"""

from __future__ import annotations

import itertools
import math
from array import array
from bisect import bisect_left
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Literal, NamedTuple, Protocol, cast

from lb.model import Server, ServerSpec
from lb.model.address import Client
from strategies import ketama, maglev
from strategies.base import Strategy, View
from strategies.hash_keys import HASH_KEY_PATTERN, hash_key

__all__ = ["ConsistentHash", "HashTable", "Layout"]

HASH_TABLES = ("maglev", "ketama")

START_ENTRIES = 1 << 18
"""Entries of a table that a start waits for: about half a second. Larger ones have a stand-in."""
MAX_WALK = 64
"""Entries to walk before looking up each available server instead. An estimate: costs as much as ten lookups."""


class HashTable(Protocol):
    """A hash table: the owner of each position, as an index into the list of servers."""

    @property
    def owners(self) -> array[int]: ...

    def position(self, key: bytes) -> int:
        """Return the position of a key, an index into ``owners``."""


class Layout(NamedTuple):
    """The result of :meth:`ConsistentHash.build`: the table, and the positions of each server, ascending."""

    table: HashTable
    positions: list[array[int]]


class ConsistentHash(Strategy):
    """Hash the client or its request, so that it keeps its server and few clients move when a server leaves.

    A pick looks up the server on the table. If it is unavailable, the pick walks on to the next available server.

    The table holds all members whatever their state, so that an outage only moves the keys of the failed server, and
    they return to it afterwards. All clients of a unix listener have the same key, ``unix:``, as in nginx.

    ``key`` is ``source-ip`` or ``source-ip-port``, or of the request ``uri``, ``path``, ``host``, ``header:NAME``,
    ``cookie:NAME`` or ``query:NAME``; a client without that is hashed by ``source-ip``. ``table`` is ``maglev`` or
    ``ketama``; ``size``, a prime up to 5,000,011, is the number of entries of a maglev table (default 65537). Raises
    ValueError for any other value.
    """

    uses_shares = False

    def __init__(
        self,
        key: Annotated[str, {"pattern": HASH_KEY_PATTERN}] = "source-ip",
        table: Literal["maglev", "ketama"] = "maglev",
        size: Annotated[int | None, {"minimum": 2}] = None,
    ) -> None:
        super().__init__()
        self._key = hash_key(key)
        self.key = self._key.of
        """Returns the hash key of a client, as bytes."""
        self.reads_requests = self._key.part is not None
        _check_choice("table", table, HASH_TABLES)
        if size is not None and table != "maglev":
            raise ValueError(f"size is for the maglev table only, a {table} table has 160 points per unit of weight")
        self._size = maglev.DEFAULT_SIZE if size is None else _prime(size)
        self._kind = table
        self._table: HashTable = maglev.Maglev(array("I"))
        self._entries: list[array[int]] = []
        """The positions of each server, ascending."""
        self._indices: dict[Server, int] = {}

    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:
        if not self.available:
            return None
        table = self._table
        home = table.position(self.key(client))
        server = self.servers[table.owners[home]]
        if server in self.available and server not in tried:
            return server
        return self._walk(home, tried)

    def _walk(self, home: int, tried: Collection[Server]) -> Server | None:
        """Return the first server after ``home`` that may be chosen."""
        for owner in self._table.owners[home + 1 : home + MAX_WALK]:
            server = self.servers[owner]
            if server in self.available and server not in tried:
                return server
        left = self.available.difference(tried)
        return min(left, key=lambda server: self._distance(server, home)) if left else None

    def homes(self, clients: Iterable[Client]) -> Iterator[Server]:
        """Return the server of each client while all members are up; no servers if the list is empty.

        The result is for the current list, even if the list changes during the iteration.
        """
        servers, table = self.servers, self._table
        return (servers[table.owners[table.position(self.key(client))]] for client in (clients if servers else ()))

    def _distance(self, server: Server, home: int) -> tuple[int, int]:
        """Return the length of the walk from ``home`` to a server, across the end of the table if necessary.

        In a table with fewer entries than servers, servers without an entry come last, in the order of the file.
        """
        index = self._indices[server]
        positions = self._entries[index]
        size = len(self._table.owners)
        if not positions:
            return size, index
        following = bisect_left(positions, home)
        return positions[following % len(positions)] - home + (size if following == len(positions) else 0), index

    def build(self, servers: Sequence[ServerSpec]) -> Generator[None, None, Layout]:
        if self._kind == "ketama":
            return (yield from _layout(ketama.build(servers), servers))
        return (yield from _layout(maglev.build(servers, self._size), servers))

    def stand_in(self, servers: Sequence[ServerSpec]) -> Generator[None, None, Layout] | None:
        """Return the build of a smaller table of the same kind, if the table is large.

        It spreads the keys by the same weights, but most keys have another server than in the full table.
        """
        if self._kind == "maglev":
            small = maglev.build(servers, maglev.DEFAULT_SIZE)
            return _layout(small, servers) if self._size > START_ENTRIES else None
        units = sum(spec.weight for spec in servers)
        if units * ketama.POINTS_PER_WEIGHT <= START_ENTRIES:
            return None
        return _layout(ketama.build(servers, max(1, START_ENTRIES // units)), servers)

    def use(self, servers: Sequence[Server], built: object) -> None:
        super().use(servers, built)
        self._table, self._entries = cast("Layout", built)
        self._indices = {server: index for index, server in enumerate(self.servers)}

    def expected_shares(self, candidates: AbstractSet[Server]) -> Mapping[Server, float]:
        """Return each candidate's part of the weights. A ketama table differs by up to a third."""
        total = sum(server.weight for server in candidates)
        return {server: server.weight / total for server in candidates}

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - the walk covers all
        """Return the distances: ``distance`` is the length of the walk from the client's position, in entries."""
        size = len(self._table.owners)
        if not size or (self._key.with_port and client.host and not client.port):  # port 0 = unknown
            return View("unknown", [(server, {}) for server in self.servers])
        key = self.key(client)
        home = self._table.position(key)
        distances = {server: self._distance(server, home) for server in self.servers}
        return View(
            "request" if self._key.of_request(client) else "client",
            [(server, {"distance": distances[server][0]}) for server in sorted(distances, key=distances.__getitem__)],
            {"key": key.decode(errors="backslashreplace"), "position": home, "of": size},
        )


def _layout(building: Generator[None, None, HashTable], servers: Sequence[ServerSpec]) -> Generator[None, None, Layout]:
    table = yield from building
    positions = [array("I") for _ in servers]
    for position, owner in enumerate(table.owners):
        positions[owner].append(position)
        if not position % 1024:
            yield
    return Layout(table, positions)


def _check_choice(option: str, value: object, choices: Collection[str]) -> None:
    if value not in choices:
        raise ValueError(f"{option} must be {' or '.join(map(repr, choices))}, not {value!r}")


def _prime(size: object) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 2 <= size <= maglev.MAX_SIZE:
        raise ValueError(f"size must be a prime from 2 to {maglev.MAX_SIZE}, not {size!r}")
    if not _is_prime(size):
        following = next(number for number in itertools.count(size + 1) if _is_prime(number))
        raise ValueError(f"size must be a prime, not {size}; the next one is {following}")
    return size


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
