"""How a router spreads flows over equal next hops, as Linux does it (hash-threshold), and which flows a change moves.

Source: RFC 2992, and Linux' ``fib_select_multipath``: a flow's hash is a number of 31 bits, of which each next hop that
lives has an equal part, in the order of the route. When one leaves, the bounds of all parts move.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import attrs

__all__ = ["Rehash", "next_hop", "rehash"]


@attrs.frozen
class Rehash:
    """What happens to the open flows, as parts of all flows, when a next hop leaves or comes back."""

    own: Fraction
    """Flows of the next hop itself: they end when it leaves; they come to it when it returns."""
    others: Fraction
    """Flows between next hops that stay, which go to another one of these."""


def next_hop(part: Fraction, live: Sequence[int]) -> int:
    """Return the next hop of a flow whose hash is at this part, 0 to 1, of all hashes."""
    return live[int(part * len(live))]


def rehash(hops: int, leaves: int) -> Rehash:
    """Return what the leaving of one of several next hops moves. The same flows move back when it returns."""
    before = range(hops)
    after = [hop for hop in before if hop != leaves]
    bounds = sorted(
        {Fraction(number, hops) for number in range(hops + 1)} | {Fraction(number, hops - 1) for number in range(hops)}
    )
    own = others = Fraction(0)
    for low, high in pairwise(bounds):
        old = next_hop((low + high) / 2, before)
        if old == leaves:
            own += high - low
        elif next_hop((low + high) / 2, after) != old:
            others += high - low
    return Rehash(own, others)
