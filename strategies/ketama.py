"""Ketama: points on a ring of 32-bit numbers; a key belongs to the first point at or after its hash.

Source: nginx's ``hash … consistent`` (``ngx_stream_upstream_hash_module.c``), itself compatible with
Cache::Memcached::Fast. A key gets the same server behind nginx and here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Generator, Sequence
from zlib import crc32

import attrs

from lb.model import ServerSpec
from lb.model.address import Address

__all__ = ["POINTS_PER_WEIGHT", "Ketama", "build"]

POINTS_PER_WEIGHT = 160

_BUCKET = 512
"""Points sorted per slice, about 0.1 ms."""
_ARCS = 128
"""Arcs per slice: with four points in an arc, a lookup compares two or three."""


@attrs.frozen
class Ketama:
    """A complete ring: ``points`` in ascending order, and their ``owners``, indices into the list of servers.

    Colliding points are kept in the order of the list: the first owns the key, the next takes it over in an outage.
    """

    points: array[int]
    owners: array[int]
    arcs: array[int]
    """The index of the first point at or after the begin of each arc; the last one is the number of points."""
    shift: int
    """The number of a point's arc is ``point >> shift``."""

    def position(self, key: bytes) -> int:
        """Return the position of a key, an index into ``owners``. The ring must not be empty."""
        point = crc32(key)
        arc = point >> self.shift
        position = bisect_left(self.points, point, self.arcs[arc], self.arcs[arc + 1])
        return position if position < len(self.points) else 0


def build(servers: Sequence[ServerSpec], points_per_weight: int = POINTS_PER_WEIGHT) -> Generator[None, None, Ketama]:
    """Build the ring of these servers, in slices of well under a millisecond.

    The points go into buckets by their top bits, so that each sort is short. A point and its owner form one number,
    which sorts collisions in the order of the list.
    """
    bits = (sum(spec.weight for spec in servers) * points_per_weight // _BUCKET).bit_length()
    shift = 32 - bits
    buckets = [array("Q") for _ in range(1 << bits)]
    for owner, spec in enumerate(servers):
        seed = crc32(_identity(spec.address))
        point = 0
        for _ in range(spec.weight):
            for _ in range(points_per_weight):
                point = crc32(point.to_bytes(4, "little"), seed)
                buckets[point >> shift].append(point << 32 | owner)
            yield
    points = array("I")
    owners = array("I")
    arcs = array("I")
    arc = (1 << shift) // _ARCS
    for number, bucket in enumerate(buckets):
        pairs = sorted(bucket)
        begin = number << shift
        arcs.extend(
            [len(points) + bisect_left(pairs, point << 32) for point in range(begin, begin + (1 << shift), arc)]
        )
        points.extend([pair >> 32 for pair in pairs])
        owners.extend([pair & 0xFFFF_FFFF for pair in pairs])
        buckets[number] = array("Q")  # the ring of servers with large weights is large; keep only one copy
        yield
    arcs.append(len(points))
    return Ketama(points, owners, arcs, shift - _ARCS.bit_length() + 1)


def _identity(address: Address) -> bytes:
    """Return the bytes that nginx hashes: host NUL port, an IPv6 host with its brackets; for a unix socket path NUL."""
    if address.is_unix:
        return address.path.encode() + b"\0"
    host, _, port = address.text.rpartition(":")
    return host.encode() + b"\0" + port.encode()
