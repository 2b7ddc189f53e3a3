"""Which nodes of a cluster check a server: the first three of an order that each server has of its own. Pure.

Rendezvous hashing (Thaler and Ravishankar 1998, "Using Name-Based Mappings to Increase Hit Rates"): nodes and servers
need no table, and all who know the same names agree. When a node leaves, only servers that it checked get another
checker; a node that comes takes its share from all others, and nothing moves between those.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import blake2b

__all__ = ["CHECKERS", "checkers", "position"]

CHECKERS = 3
"""Nodes that check a server: one may die and one may be wrong or cut off, and the server is still judged."""


def checkers(server: str, nodes: Collection[str]) -> tuple[str, ...]:
    """Return the nodes that check a server (``pool/name``), first of its order first: all of them, if there are few."""
    return tuple(sorted(nodes, key=lambda node: _key(server, node))[:CHECKERS])


def position(server: str, node: str, nodes: Iterable[str]) -> int:
    """Return how many of the nodes come before this one in a server's order. It is the first if there are none."""
    own = _key(server, node)
    return sum(_key(server, each) < own for each in nodes)


def _key(server: str, node: str) -> tuple[bytes, str]:
    """Return what a server's order sorts by. Two nodes with the same hash are told apart by their names."""
    return blake2b(f"{node}/{server}".encode(), digest_size=8).digest(), node
