"""The servers whose checks this node shares with others of its cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice

import trio

from healthcheck.check import Checks
from healthcheck.checker import Checker
from healthcheck.result import CheckResult
from healthcheck.shared_checks import CheckClaim, SharedChecks
from lb.control.overrides import ServerPlace
from lb.net.cooperate import in_turns
from lb.pools.backend import Backend

__all__ = ["SharedServer", "Sharing"]


class SharedServer:
    """One server whose checks are shared: its checks rest and resume as :class:`SharedChecks` decides."""

    def __init__(self, sharing: Sharing, place: ServerPlace, backend: Backend, checker: Checker) -> None:
        self.place = place
        self.shared = SharedChecks("/".join(place), backend.spec.address.text)
        self.checks: Checks | None = None
        """Set once they are made."""
        self._sharing = sharing
        self._backend = backend
        self._checker = checker

    def weigh(self, result: CheckResult | None) -> CheckResult | None:
        """Note a result of this node. Return it as it counts. Call :meth:`decide` once it has."""
        return self.shared.weigh(result, self._backend.health.state)

    def hear(self, claims: Mapping[str, CheckClaim]) -> None:
        """Take what other nodes say now. If that contradicts what this node holds, it looks for itself at once."""
        self.shared.hear(claims)
        self.decide()
        if self.checks is not None and self.shared.doubts(self._backend.health.state):
            self._checker.hurry(self.checks)

    def decide(self) -> None:
        """Rest or resume, and tell the others, as it follows from the server's state and from what they say."""
        before = self.shared.claim
        self.shared.decide(self._backend.health.state)
        if self.shared.claim != before:
            self._sharing.tell(self.place, self.shared.claim)
        if self.checks is not None and self.checks.resting is not self.shared.rests:
            (self._checker.rest if self.shared.rests else self._checker.resume)(self.checks)


class Sharing:
    """All servers whose checks are shared, what other nodes say of them, and what they have not been told yet.

    The cluster calls :meth:`join` with the nodes that live, :meth:`hear` with their claims, and :meth:`leave` when it
    has lost sight of them: then this node checks everything by itself.
    """

    def __init__(self) -> None:
        self._node = ""
        self._nodes: frozenset[str] = frozenset()
        """The nodes that live; empty while this node is not in the cluster."""
        self._servers: dict[ServerPlace, SharedServer] = {}
        self._heard: dict[ServerPlace, dict[str, CheckClaim]] = {}
        """All claims, by server and node, also about servers that this node does not know yet."""
        self._untold: dict[ServerPlace, CheckClaim | None] = {}
        self._news = trio.Event()

    def add(self, place: ServerPlace, backend: Backend, checker: Checker) -> SharedServer:
        """Share the checks of a server from now on."""
        self._servers[place] = server = SharedServer(self, place, backend, checker)
        if self._nodes:
            server.shared.join(self._node, self._nodes)
            server.shared.hear(self._heard.get(place, {}))
        return server

    def remove(self, server: SharedServer) -> None:
        """The server's checks have ended here, or are made with other settings."""
        if self._shares(server):
            del self._servers[server.place]
            if server.shared.claim is not None:
                self.tell(server.place, None)

    def _shares(self, server: SharedServer) -> bool:
        """Return whether the server is shared still: in between turns, one may be removed."""
        return self._servers.get(server.place) is server

    def checked_by(self, place: ServerPlace) -> list[str] | None:
        """Return the nodes that check a server, by name; None if its checks are not shared."""
        return self._servers[place].shared.checked_by if self._nodes and place in self._servers else None

    # What other nodes say

    async def join(self, node: str, nodes: Collection[str]) -> None:
        """This node is one of those that live. Yields to traffic: each server's order is computed anew."""
        self._node, self._nodes = node, frozenset(nodes)
        async for server in in_turns(list(self._servers.values())):
            if self._shares(server):
                server.shared.join(node, self._nodes)
                server.hear(self._heard.get(server.place, {}))

    async def leave(self) -> None:
        """This node has lost sight of the others, and checks all by itself."""
        self._nodes = frozenset()
        async for server in in_turns(list(self._servers.values())):
            if self._shares(server):
                server.shared.leave()
                server.decide()

    async def hear_all(self, claims: Mapping[ServerPlace, Mapping[str, CheckClaim]]) -> None:
        """Take all claims, by server and node. What was known before counts no more."""
        before, self._heard = self._heard, {place: dict(found) for place, found in claims.items()}
        async for place in in_turns({**before, **claims}):
            if before.get(place) != self._heard.get(place):
                self._pass_on(place)

    def hear(self, place: ServerPlace, node: str, claim: CheckClaim | None) -> None:
        """A node says what it found at a server; None: it does not check it any more."""
        claims = self._heard.setdefault(place, {})
        if claim is None:
            claims.pop(node, None)
        else:
            claims[node] = claim
        if not claims:
            del self._heard[place]
        self._pass_on(place)

    def _pass_on(self, place: ServerPlace) -> None:
        if self._nodes and place in self._servers:
            self._servers[place].hear(self._heard.get(place, {}))

    # What this node says

    def tell(self, place: ServerPlace, claim: CheckClaim | None) -> None:
        """Tell the others what this node found; None: that it does not check the server any more."""
        self._untold[place] = claim
        self._news.set()

    def tell_all(self) -> None:
        """Tell everything, as nothing of what was told is left."""
        self._untold = {}
        for place, server in self._servers.items():
            if server.shared.claim is not None:
                self.tell(place, server.shared.claim)

    async def untold(self, most: int) -> dict[ServerPlace, CheckClaim | None]:
        """Wait for something to tell, and take it: so many servers at most."""
        while not self._untold:
            self._news = trio.Event()
            await self._news.wait()
        taken = dict(islice(self._untold.items(), most))
        for place in taken:
            del self._untold[place]
        return taken
