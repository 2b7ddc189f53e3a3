"""CDN-Loop (RFC 8586): a request that has come through this cache before goes round in a circle of caches."""

from __future__ import annotations

import hashlib

import attrs

from lb.http1.request_head import RequestHead
from lb.model import RouteSpec

__all__ = ["cdn_identity", "is_in_loop", "with_cdn_loop"]

_NAME = "CDN-Loop"


def cdn_identity(secret: bytes) -> str:
    """Return the name of this balancer among caches: the same in all its workers, and after an upgrade."""
    return "trio-lb-" + hashlib.blake2b(b"cdn-loop", key=secret[:64], digest_size=8).hexdigest()


def with_cdn_loop(route: RouteSpec, identity: str) -> RouteSpec:
    """Return a route that tells servers of this cache."""
    edits = route.request_headers
    return attrs.evolve(route, request_headers=attrs.evolve(edits, add=(*edits.add, (_NAME, identity))))


def is_in_loop(head: RequestHead, identity: bytes) -> bool:
    """Return True if a request has come through this cache before."""
    values = head.block.get_all(b"cdn-loop")
    return any(member.partition(b";")[0].strip(b" \t") == identity for value in values for member in value.split(b","))
