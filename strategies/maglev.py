"""Maglev: a lookup table in which each server has nearly the same number of entries.

Source: D. Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), section 3.4;
for the hashes, the order of the hosts and the weights, Envoy's ``maglev_lb.cc`` and ``thread_aware_lb_impl.cc``, so
that a key gets the same server behind Envoy and here.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

import attrs
from xxhash import xxh64_intdigest

from lb.model import ServerSpec

__all__ = ["DEFAULT_SIZE", "MAX_SIZE", "Maglev", "Preference", "build", "populate"]

DEFAULT_SIZE = 65537
MAX_SIZE = 5_000_011
"""The same limit as Envoy's: a table of 20 MB."""


@attrs.frozen
class Maglev:
    """A complete table: ``owners`` are indices into the list of servers."""

    owners: array[int]

    def position(self, key: bytes) -> int:
        """Return the position of a key, an index into ``owners``."""
        return xxh64_intdigest(key) % len(self.owners)


class Preference(NamedTuple):
    """A server's order of preference for entries: ``offset``, ``offset + skip``, … modulo the (prime) size."""

    owner: int
    offset: int
    skip: int
    weight: int = 1


def build(servers: Sequence[ServerSpec], size: int) -> Generator[None, None, Maglev]:
    """Build the table of ``size`` entries (a prime) for these servers.

    Works in slices of well under a millisecond; 65,537 entries take about 50 ms in total. A table smaller than the
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
    """Assign entries to the servers in turn; each takes the first free one in its preference. Yields between slices.

    Probing the preference for a free entry is slow once few are left. The last entries therefore go the other way:
    compute the place of each free entry in the preference. This halves the total work, and no single entry is slow.
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
    """Yield the index of the next server, without end: the heaviest in every round, half its weight every second, ….

    A server's turn is in the first round with ``round * share >= turns taken * heaviest share``. As in Envoy, the
    shares are doubles and the right side is a running sum; rounding decides if both sides are equal. ``due`` lists
    each server in the round of its next turn, so that servers with small weights cost nothing in between.
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
