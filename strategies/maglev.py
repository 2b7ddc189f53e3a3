"""Maglev: a look-up table in which every server has nearly the same number of entries, in places of its own.

Sources: D. Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), section 3.4;
for the hashes, the order of the hosts and the weights, Envoy's ``maglev_lb.cc`` and ``thread_aware_lb_impl.cc``, so
that a key has the same server behind Envoy and here.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

from xxhash import xxh64_intdigest

from lb.model import ServerSpec

__all__ = ["DEFAULT_SIZE", "MAX_SIZE", "Maglev", "Preference", "build", "populate"]

DEFAULT_SIZE = 65537
MAX_SIZE = 5_000_011
"""Envoy's limit as well: a table of 20 MB."""


class Maglev(NamedTuple):
    """A finished table: ``owners`` are indices into the list of servers that it was built from."""

    owners: array[int]

    def position(self, key: bytes) -> int:
        """The entry of a key, an index into ``owners``."""
        return xxh64_intdigest(key) % len(self.owners)


class Preference(NamedTuple):
    """The order in which a server wants the entries: ``offset``, ``offset + skip``, … modulo the (prime) size."""

    owner: int
    offset: int
    skip: int
    weight: int = 1


def build(servers: Sequence[ServerSpec], size: int) -> Generator[None, None, Maglev]:
    """The table of ``size`` entries (a prime) for these servers.

    Computed in slices of well under a millisecond; 65,537 entries take about 50 ms in all. A table smaller than the
    list leaves some servers without an entry.
    """
    addresses = sorted((spec.address.text.encode(), index) for index, spec in enumerate(servers))
    preferences = []
    for address, index in addresses:
        offset = xxh64_intdigest(address, 0) % size
        skip = xxh64_intdigest(address, 1) % (size - 1) + 1
        preferences.append(Preference(index, offset, skip, servers[index].weight))
        if not len(preferences) % 256:
            yield
    owners = yield from populate(preferences, size)
    return Maglev(owners)


def populate(preferences: Sequence[Preference], size: int) -> Generator[None, None, array[int]]:
    """Let the servers take entries in turn, each the first free one of its preference. Yields between slices.

    Probing one's preference for a free entry takes long once few are left. Then the free entries are asked at which
    place of the preference they stand: half of all the work goes, and no single entry takes long.
    """
    owners = array("I", bytes(4 * size))
    if not preferences:
        return owners[:0]
    few = math.isqrt(size)
    taken = bytearray(size)
    entries = [preference.offset for preference in preferences]
    turns = _turns([preference.weight for preference in preferences])
    for left in range(size, few, -1):
        turn = next(turns)
        owner, _, skip, _ = preferences[turn]
        entry = entries[turn]
        while taken[entry]:
            entry += skip
            if entry >= size:
                entry -= size
        taken[entry] = 1
        owners[entry] = owner
        entries[turn] = entry
        if not left % 32:
            yield
    free = list(_zeros(taken))
    while free:
        owner, offset, skip, _ = preferences[next(turns)]
        steps_per_entry = pow(skip, -1, size)
        steps = min((entry - offset) * steps_per_entry % size for entry in free)
        entry = (offset + steps * skip) % size
        free.remove(entry)
        owners[entry] = owner
        yield
    return owners


def _turns(weights: Sequence[int]) -> Iterator[int]:
    """Whose turn it is, for ever: the heaviest server in every round, one of half its weight in every second, ….

    A server's turn comes in the first round with ``round * share >= turns taken * heaviest share``. As in Envoy the
    shares are doubles, the right side is a running sum, and their rounding decides where both sides are equal.
    Each server waits in the round of its next turn, so that light ones cost nothing in between.
    """
    total = sum(weights)
    shares = [weight / total for weight in weights]
    heaviest = max(shares)
    targets = [0.0] * len(shares)
    due = {1: list(range(len(shares)))}
    for this_round in itertools.count(1):
        for index in sorted(due.pop(this_round)):
            yield index
            share = shares[index]
            target = targets[index] = targets[index] + heaviest
            next_round = max(this_round + 1, int(target / share) - 1)
            while next_round * share < target:
                next_round += 1
            due.setdefault(next_round, []).append(index)


def _zeros(flags: bytearray) -> Iterator[int]:
    index = flags.find(0)
    while index >= 0:
        yield index
        index = flags.find(0, index + 1)
