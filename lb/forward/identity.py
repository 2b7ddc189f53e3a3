"""The names of this proxy in Via, and loops of proxies (RFC 9110, section 7.6.3)."""

from __future__ import annotations

import hashlib

from lb.http1.field_block import FieldBlock
from lb.http1.wire import VIA

__all__ = ["Identity"]

_NAME = VIA.split()[-1]


class Identity:
    """Servers and clients see the name that all balancers have; parents see a pseudonym.

    So a chain of proxies passes, and one that comes back is found: by the pseudonym, which no other balancer has.
    """

    def __init__(self, secret: bytes) -> None:
        digest = hashlib.blake2b(b"forward", key=secret[:64], digest_size=4).hexdigest().encode()
        self.pseudonym = b"%s-%s" % (_NAME, digest)
        """Drawn at the start; the same in all workers, and after an upgrade."""
        self._own = frozenset((_NAME, self.pseudonym))

    def is_in_loop(self, block: FieldBlock) -> bool:
        """Return True if a request has come through this proxy, or through one that told its name."""
        for value in block.get_all(b"via"):
            for hop in value.split(b","):
                parts = hop.split()
                if len(parts) > 1 and parts[1].lower() in self._own:
                    return True
        return False
