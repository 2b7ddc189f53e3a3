"""Where the turns of a balancer begin: several that start at once do not all begin with the same server. No I/O."""

from __future__ import annotations

import hashlib

__all__ = ["turns_begin"]

DIGEST_SIZE = 8


def turns_begin(node: str) -> float:
    """Return the position in a list of servers, 0 to 1, for the node of this name; 0 without one.

    The same name has the same place in all versions, so that a restart moves nothing.
    """
    if not node:
        return 0.0
    digest = hashlib.blake2b(node.encode(errors="backslashreplace"), digest_size=DIGEST_SIZE).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)  # as many bits as a float keeps: never 1.0
