"""A priority group of a pool, primaries or backups, and the strategy that chooses among its servers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet

import attrs

from lb.model import Server
from lb.model.address import Client
from lb.pools.backend import Backend
from lb.pools.slow_start import Pacing, gaps
from strategies.base import Strategy, View

__all__ = ["PriorityGroup"]


class PriorityGroup:
    """Calls a strategy and shields connections from its bugs; ``fault`` receives each exception.

    A leaving server and a server of weight 0 are not members: the strategy does not see them.
    """

    def __init__(self, strategy: Strategy, fault: Callable[[Exception], None]) -> None:
        self.strategy = strategy
        self._fault = fault
        self._members: frozenset[Backend] = frozenset()
        """The servers that the strategy has. One that has just got a weight may not be in its table yet."""
        self._pacing: Pacing | None = None
        """Only while a server ramps."""

    def use(self, strategy: Strategy, built: object, members: Sequence[Backend]) -> None:
        """Use a strategy, new or the same, for a new list; ``built`` is the result of its ``build``.

        Call :meth:`refresh` for the members that are new or changed, or for all with a new strategy.
        """
        self.strategy = strategy
        self._members = frozenset(members)
        if self._pacing is not None:
            self._pacing.keep(members)
        try:
            strategy.use(members, built)
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must not interrupt a reload
            self._fault(exception)

    # Choosing

    def has_any(self, tried: Collection[Server] = ()) -> bool:
        """Return whether a server can be picked that is not in ``tried``."""
        if not self.strategy.available.issubset(tried):
            return True
        held = self._pacing.held if self._pacing is not None else ()
        return any(backend.available and backend not in tried for backend in held)

    def pick(self, client: Client, tried: Collection[Server]) -> Backend | None:
        """Return the strategy's choice; None if it raises or returns an unavailable server."""
        if self._pacing is not None:
            return self._pick_paced(self._pacing, client, tried)
        return self._pick_unpaced(client, tried)

    def _pick_paced(self, pacing: Pacing, client: Client, tried: Collection[Server]) -> Backend | None:
        pacing.free_those_due()
        backend = self._pick_unpaced(client, tried)
        if backend is None and pacing.held:
            pacing.free_all()
            backend = self._pick_unpaced(client, tried)
        if backend is not None:
            pacing.picked(backend)
        return backend

    def _pick_unpaced(self, client: Client, tried: Collection[Server]) -> Backend | None:
        available = self.strategy.available
        if not available:
            return None
        try:
            server = self.strategy.pick(client, tried)
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must affect this pick only
            self._fault(exception)
            return None
        if isinstance(server, Backend) and server in available and server not in tried:
            return server
        if server is not None:
            self._fault(ValueError(f"the strategy chose {server!r}, which is not available"))
        return None

    def pick_server(self, backend: Backend) -> bool:
        """Return whether this server may be chosen now, and count the pick if so. Slow start may hold it back."""
        pacing = self._pacing
        if pacing is not None:
            pacing.free_those_due()
        if backend not in self.strategy.available:
            return False
        if pacing is not None:
            pacing.picked(backend)
        return True

    def pick_any(self, client: Client, tried: Collection[Server]) -> Backend | None:
        """Let the strategy choose among all servers that are open to new connections, whatever their health.

        Expensive with many servers, but rare: called only if no healthy server is left.
        """
        strategy = self.strategy
        unhealthy = [server for server in strategy.servers if isinstance(server, Backend) and not server.available]
        enabled = [backend for backend in unhealthy if backend.open_to_new]
        for backend in enabled:
            self._call(strategy.enable, backend)
        chosen = self._pick_unpaced(client, tried)
        for backend in enabled:
            self._call(strategy.disable, backend)
        return chosen

    # Explaining

    @property
    def held_back(self) -> set[Backend]:
        """Members that the next pick skips because of slow start, if there is another member."""
        return self._pacing.held_at_next_pick if self._pacing is not None else set()

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:
        """Return the strategy's view of a pick; ``unknown`` if it raises or returns figures that are not numbers."""
        try:
            view = self.strategy.explain(client, candidates)
            figures = {server: {name: +figure for name, figure in factors.items()} for server, factors in view.order}
            return attrs.evolve(view, order=tuple(figures.items()))
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must not reach a connection
            self._fault(exception)
            return View("unknown", ())

    def expected_shares(self, candidates: AbstractSet[Server]) -> Mapping[Server, float]:
        """Return each candidate's part of new connections in the long run; empty if the strategy does not know it."""
        try:
            return {server: +share for server, share in self.strategy.expected_shares(candidates).items()}
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must not reach an operator
            self._fault(exception)
            return {}

    # Updates of the strategy

    @property
    def builds_tables(self) -> bool:
        """True if a new list takes a build: see :meth:`strategies.base.Strategy.build`."""
        return type(self.strategy).build is not Strategy.build

    def refresh(self, backend: Backend) -> None:
        """Enable or disable a member, by its availability. Any other server is left alone."""
        if backend not in self._members:
            return
        held = self._pacing is not None and backend in self._pacing.held
        self._call(self.strategy.enable if backend.available and not held else self.strategy.disable, backend)

    def disable(self, backend: Backend) -> None:
        """Disable a member that leaves."""
        if backend in self._members:
            self._call(self.strategy.disable, backend)

    def load_changed(self, backend: Backend) -> None:
        """Report that a lease on a server was acquired or released."""
        try:
            self.strategy.load_changed(backend)
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must not reach a connection
            self._fault(exception)

    def share_changed(self, backend: Backend) -> None:
        """Report that a member's share of its weight changed."""
        if backend in self._members:
            self._call(self.strategy.share_changed, backend)

    def pace(self, *, ramping: bool) -> None:
        """Update the pacing to the members' ``ramp``; stop it if no server is ``ramping``."""
        wanted = {}
        if ramping and self.strategy.paced:
            servers = self.strategy.servers
            wanted = gaps([server for server in servers if isinstance(server, Backend) and server.available])
        if wanted and self._pacing is None:
            self._pacing = Pacing(self.refresh)
        if self._pacing is not None:
            self._pacing.use(wanted)
            if not wanted:
                self._pacing = None

    def _call(self, hook: Callable[[Server], None], backend: Backend) -> None:
        try:
            hook(backend)
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must not reach a connection
            self._fault(exception)
