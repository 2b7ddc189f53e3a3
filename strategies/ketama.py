"""Ketama: points on a ring of 32-bit numbers; a key belongs to the first point at or after its own.

Source: nginx's ``hash … consistent`` (``ngx_stream_upstream_hash_module.c``), itself compatible with
Cache::Memcached::Fast, so that a key has the same server behind nginx and here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Generator, Sequence
from typing import NamedTuple
from zlib import crc32

from lb.address import Address
from lb.model import ServerSpec

__all__ = ["POINTS_PER_WEIGHT", "Ketama", "build"]

POINTS_PER_WEIGHT = 160

_BUCKET = 512
"""Points sorted at a time, about 0.1 ms."""


class Ketama(NamedTuple):
    """A finished ring: ``points`` ascend, ``owners`` beside them are indices into the list of servers.

    Points that collide stay, in the order of the list: the first keeps the key, the next takes it over in an outage.
    """

    points: array[int]
    owners: array[int]

    def position(self, key: bytes) -> int:
        """The point of a key, an index into ``owners``. The ring must not be empty."""
        return bisect_left(self.points, crc32(key)) % len(self.points)


def build(servers: Sequence[ServerSpec]) -> Generator[None, None, Ketama]:
    """The ring of these servers, computed in slices of well under a millisecond.

    The points are dealt into buckets by their top bits, so that no sort is long. A point travels with its owner in
    one number, which sorts collisions by the order of the list.
    """
    bits = (sum(spec.weight for spec in servers) * POINTS_PER_WEIGHT // _BUCKET).bit_length()
    shift = 32 - bits
    buckets = [array("Q") for _ in range(1 << bits)]
    for owner, spec in enumerate(servers):
        seed = crc32(_identity(spec.address))
        point = 0
        for _ in range(spec.weight):
            for _ in range(POINTS_PER_WEIGHT):
                point = crc32(point.to_bytes(4, "little"), seed)
                buckets[point >> shift].append(point << 32 | owner)
            yield
    points = array("I")
    owners = array("I")
    for number, bucket in enumerate(buckets):
        pairs = sorted(bucket)
        points.extend([pair >> 32 for pair in pairs])
        owners.extend([pair & 0xFFFF_FFFF for pair in pairs])
        buckets[number] = array("Q")  # the ring of heavy servers is large; have it in memory once
        yield
    return Ketama(points, owners)


def _identity(address: Address) -> bytes:
    """What nginx hashes: host NUL port, the host with its brackets; for a unix socket path NUL."""
    if address.is_unix:
        return address.path.encode() + b"\0"
    host, _, port = address.text.rpartition(":")
    return host.encode() + b"\0" + port.encode()
