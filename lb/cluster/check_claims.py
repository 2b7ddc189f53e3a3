"""Claims of health checks in etcd: ``checks/<node>/<pool>/<server>``, each with the lease of its node."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import NoReturn

import trio

from healthcheck.shared_checks import CheckClaim
from lb.cluster.json_object import json_object
from lb.cluster.part import PartKeys
from lb.control.overrides import ServerPlace
from lb.control.sharing import Sharing
from lb.etcd.errors import EtcdError
from lb.etcd.messages import Deletion, KeyValue, Operation, PrefixEvent, Put, prefix_end
from lb.net.cooperate import in_turns

__all__ = ["CheckClaims"]

MOST_OPERATIONS = 100
"""Claims that are told in one transaction. etcd allows 128 operations."""
CLAIM_AGAIN = 1.0
"""Seconds until etcd is asked again after a failure."""


class CheckClaims:
    """What the nodes of a cluster say about the servers that they check: the part of it that :class:`Sharing` needs.

    A key that cannot be read is no claim, so the server is checked by one node more.
    """

    below = "checks/"

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing

    async def snapshot(self, entries: Mapping[str, KeyValue]) -> None:
        """Take all claims."""
        found: dict[ServerPlace, dict[str, CheckClaim]] = {}
        async for key, entry in in_turns(entries.items()):
            node, place = _read_key(key)
            claim = _read(entry.value)
            if claim is not None:
                found.setdefault(place, {})[node] = claim
        await self._sharing.hear_all(found)

    async def changed(self, key: str, event: PrefixEvent) -> None:
        """Take a new claim, or the end of one."""
        node, place = _read_key(key)
        self._sharing.hear(place, node, None if event.deleted else _read(event.entry.value))

    async def sees(self, node: str, nodes: Collection[str]) -> None:
        """This node is one of those that live."""
        await self._sharing.join(node, nodes)

    async def lost(self) -> None:
        """Nothing is known of the others: this node checks all by itself."""
        await self._sharing.leave()

    async def run(self, keys: PartKeys) -> NoReturn:
        """Tell all claims of this node, then each change. A process that had its lease before may have left others."""
        own = keys.key(f"{keys.node}/")
        await _tell(keys, Deletion(own, prefix_end(own)))
        self._sharing.tell_all()
        while True:
            taken = await self._sharing.untold(MOST_OPERATIONS)
            await _tell(keys, *(_operation(keys, place, claim) for place, claim in taken.items()))


async def _tell(keys: PartKeys, *operations: Operation) -> None:
    """Tell etcd, however long it is away: the membership reports that, and ends this if the lease is lost."""
    while True:
        with suppress(EtcdError):
            await keys.client.txn((), operations)
            return
        await trio.sleep(CLAIM_AGAIN)


def _operation(keys: PartKeys, place: ServerPlace, claim: CheckClaim | None) -> Operation:
    key = keys.key("/".join((keys.node, *place)))
    return Deletion(key) if claim is None else Put(key, json.dumps(claim.as_json()).encode(), keys.lease)


def _read_key(key: str) -> tuple[str, ServerPlace]:
    """Return the node and the server of a key. Names of nodes and pools have no slash."""
    node, _, rest = key.partition("/")
    pool, _, server = rest.partition("/")
    return node, (pool, server)


def _read(content: bytes) -> CheckClaim | None:
    try:
        return CheckClaim.from_json(json_object(content))
    except ValueError:
        return None
