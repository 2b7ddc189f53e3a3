"""What the nodes of a cluster share: one part for each kind of keys below the cluster's prefix."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NoReturn, Protocol

import attrs

from lb.etcd.client import EtcdClient
from lb.etcd.messages import KeyValue, PrefixEvent
from lb.events import ClusterBadKey, Sink
from lb.model.printable import shortened

__all__ = ["BadKeys", "ClusterPart", "PartKeys"]

MAX_BAD_KEYS = 1_000
"""Bad keys that are remembered, so that each is said once. A guess: far more than people make by hand."""

LONGEST_BAD_KEY = 300
"""Characters of a bad key, and of what is wrong with it, that are told."""


@attrs.frozen
class PartKeys:
    """The keys of one part, with the client that reaches them."""

    client: EtcdClient
    prefix: bytes
    """Of the part's keys, in etcd."""
    node: str
    """The name of this node."""
    lease: int = 0
    """The lease of this node: keys that are put with it go when the node goes. 0 = none."""

    def key(self, name: str) -> bytes:
        """Return the key of a name below the prefix, in etcd."""
        return self.prefix + name.encode()


class ClusterPart(Protocol):
    """One part. Keys are relative to :attr:`below`. Its methods do not raise.

    Hears of its keys from :meth:`snapshot` and :meth:`changed`, and of the cluster from :meth:`sees` and :meth:`lost`.
    """

    below: str
    """Where its keys are, relative to the cluster's prefix: ``checks/``."""

    async def snapshot(self, entries: Mapping[str, KeyValue]) -> None:
        """Take all keys that there are. What was known before counts no more."""

    async def changed(self, key: str, event: PrefixEvent) -> None:
        """Take a change of a key."""

    async def sees(self, node: str, nodes: Collection[str]) -> None:
        """Take the names of the nodes that live, ``node`` is this one: when it joins, and with each change of them."""

    async def lost(self) -> None:
        """Nothing is known of the cluster from now on, until :meth:`sees` is called: it is away, or left."""

    async def run(self, keys: PartKeys) -> NoReturn:
        """Do what it does with etcd for as long as a lease lasts. Cancelled and called again with each new lease."""


class BadKeys:
    """Reports keys whose values cannot be read, each once."""

    def __init__(self, sink: Sink, prefix: str) -> None:
        self._sink = sink
        self._prefix = prefix
        self._said: dict[int, int] = {}  # hashes of a key and of its value: both may have megabytes

    def bad(self, key: str, value: bytes, error: ValueError) -> None:
        """Report a key, relative to the prefix, unless its value is the one that was reported last."""
        place, said = hash(key), hash(value)
        if self._said.get(place) != said and (place in self._said or len(self._said) < MAX_BAD_KEYS):
            self._said[place] = said
            self._sink(
                ClusterBadKey(self._prefix + shortened(key, LONGEST_BAD_KEY), shortened(str(error), LONGEST_BAD_KEY))
            )
