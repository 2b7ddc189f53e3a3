"""Health checks that the nodes of a cluster share: what this node does about one server. Pure, without a clock.

A node that checks a server for all *claims* it, and its claim says what it found. A node rests a server's checks while
three nodes before it in the server's order (:mod:`healthcheck.assignment`) claim it, and no claim contradicts what this
node found itself. So nobody relies on a node for being in a list: one that does not know the server, or does not share
its checks, claims nothing, and the others go on.

================================  =====================================================================================
this node                         what it does
================================  =====================================================================================
has not checked yet               checks: everybody begins with a verdict of its own
one of the first three            checks, and claims once its last check and its state agree
any other, three claims before it rests
any other, fewer                  checks; claims in its turn: one place further back, one check later
a claim contradicts its state     checks, until either changes its mind
================================  =====================================================================================

What others say shortens ``fall`` and ``rise``, and replaces no check: while one says "down", one failed check of this
node takes the server down; if all say "up", one passed check brings it up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from healthcheck.assignment import CHECKERS, position
from healthcheck.result import Advice, CheckResult
from healthcheck.state import State

__all__ = ["CheckClaim", "SharedChecks"]


@attrs.frozen
class CheckClaim:
    """A node checks a server for all, and this is what it found."""

    up: bool
    address: str
    """The server's address in the node's configuration: only nodes that have the same count for each other."""

    def as_json(self) -> dict[str, object]:
        return {"up": self.up, "address": self.address}

    @classmethod
    def from_json(cls, read: object) -> CheckClaim:
        """Read a claim. Raises ValueError if it is none; keys of later versions are ignored."""
        match read:
            case {"up": bool(up), "address": str(address)}:
                return cls(up, address)
        raise ValueError("not a claim of a server's checks")


class SharedChecks:
    """The checks of one server, ``pool/name`` at an address, on this node. It checks by itself until others claim them.

    Call :meth:`weigh` with each result before it counts, :meth:`hear` and :meth:`join` with news of other nodes, and
    :meth:`decide` after each of these and after each change of the server's state.
    """

    def __init__(self, server: str, address: str) -> None:
        self.server = server
        self.address = address
        self.rests = False
        """This node makes no checks of it."""
        self.claim: CheckClaim | None = None
        """What this node tells the others."""
        self._node = ""
        self._position: float = math.inf
        """How many nodes come before this one. Infinite while it is not in the cluster."""
        self._nodes: frozenset[str] = frozenset()
        self._heard: dict[str, CheckClaim] = {}
        self._passed: bool | None = None
        """The result of the last check here. None: there is none, or it was no verdict, or none that can be shared."""
        self._alone = 0
        """Checks that this node made although it is not one of the first three."""

    def join(self, node: str, nodes: frozenset[str]) -> None:
        """Take this node's place among the nodes that live. Costs as much as there are new and lost ones."""
        if node != self._node or not self._nodes:
            self._node, self._nodes, self._position = node, frozenset(), 0
        self._position += position(self.server, node, nodes - self._nodes)
        self._position -= position(self.server, node, self._nodes - nodes)
        self._nodes = nodes

    def leave(self) -> None:
        """Forget the other nodes, as nothing is known of them any more. A claim stays, to be told again."""
        self._position, self._nodes = math.inf, frozenset()
        self._heard = {}

    def hear(self, claims: Mapping[str, CheckClaim]) -> None:
        """Take all claims, by node. One of this node itself, from an earlier life, does not count."""
        others = ((node, claim) for node, claim in claims.items() if node != self._node)
        self._heard = {node: claim for node, claim in others if claim.address == self.address}

    @property
    def is_checker(self) -> bool:
        """It is one of the three nodes that check the server."""
        return self._position < CHECKERS

    @property
    def checked_by(self) -> list[str]:
        """The nodes that check it, by name."""
        return sorted({*self._heard, *([] if self.rests else [self._node])})

    def weigh(self, result: CheckResult | None, state: State) -> CheckResult | None:
        """Note the result of a check of this node. Return it as it counts: at once, if another node has said so.

        None is a check without a verdict: the claim is withdrawn, as this node cannot tell. Advice of an agent is for
        each node to hear, so such a server's checks are not shared.
        """
        self._alone += 1
        self._passed = None
        if result is None or result.at_once or result.advice != Advice():
            return result
        self._passed = result.passed
        if not self._confirms(result.passed, state):
            return result
        if result.passed:
            return attrs.evolve(result, at_once=True)
        witness = min(node for node, claim in self._heard.items() if not claim.up)
        return attrs.evolve(result, detail=f"{result.detail}, as on {witness}", at_once=True)

    def _confirms(self, passed: bool, state: State) -> bool:
        """Return whether a result is what another node has said of a server that is in the opposite state here."""
        said = {claim.up for claim in self._heard.values()}
        return state == "down" and said == {True} if passed else state in ("up", "ejected") and False in said

    def doubts(self, state: State) -> bool:
        """Return whether another node contradicts the state here: then a check should not wait."""
        contrary = {"up": False, "down": True}.get(state)
        return any(claim.up is contrary for claim in self._heard.values())

    def decide(self, state: State) -> None:
        """Decide about ``rests`` and ``claim``, for a server in this state."""
        settled = self._passed is not None and state == ("up" if self._passed else "down")
        self.rests = settled and not self.is_checker and self._enough_before() and not self.doubts(state)
        if self.is_checker or self.rests:
            self._alone = 0
        if self.rests or self._passed is None:
            self.claim = None
        elif settled and (self.is_checker or self.claim is not None or self._alone > self._position - CHECKERS + 1):
            self.claim = CheckClaim(state == "up", self.address)

    def _enough_before(self) -> bool:
        return len(self._heard) >= CHECKERS and position(self.server, self._node, self._heard) >= CHECKERS
