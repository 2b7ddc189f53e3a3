"""Which clients a frontend lets in, and how often they may come: lists of networks, and counters of stick tables."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import attrs

from lb.tools.migrate.draft import DraftTable
from lb.tools.migrate.haproxy.acl_tests import NoCounterpartError
from lb.tools.migrate.haproxy.conditions import ProxyTerm
from lb.tools.migrate.haproxy.proxies import Proxy
from lb.tools.migrate.haproxy.values import time_of
from lb.tools.migrate.migration import Directive, Migration

__all__ = ["ClientLimits"]

_LISTENER = "listeners.NAME"


@attrs.define
class ClientLimits:
    """What the rules say of clients, whatever they request."""

    proxies: Sequence[Proxy]
    """All, for their stick tables."""
    applies: bool = True
    """False: these are rules of a backend."""
    _allowed: list[str] = attrs.field(factory=list)
    _denied: list[str] = attrs.field(factory=list)
    _accepted: list[tuple[Directive, tuple[str, ...]]] = attrs.field(factory=list)
    """What ``accept`` let in before a rule that refuses the others."""
    _numbers: dict[str, int] = attrs.field(factory=dict)

    def of_sources(self, directive: Directive, terms: Sequence[ProxyTerm], *, accepts: bool) -> None:
        """Add a rule about networks. Raises NoCounterpartError."""
        self._check()
        migration = self.proxies[0].migration
        sources = [source for term in terms for source in term.sources or ()]
        negated = {term.is_negated for term in terms}
        if accepts and negated == {False} and len(terms) == 1:
            self._accepted.append((directive, tuple(sources)))
        elif not accepts and negated == {True} and not self._allowed:
            self._allowed += sources
            migration.translated(directive, f"{_LISTENER}.allow")
        elif not accepts and negated == {False} and len(terms) == 1:
            self._denied += sources
            migration.translated(directive, f"{_LISTENER}.deny")
        else:
            raise NoCounterpartError("a listener has one list `allow` and one list `deny`; the latter comes first")

    def refuse_all(self, directive: Directive) -> None:
        """Refuse all whom no rule before has let in. Raises NoCounterpartError."""
        self._check()
        if not self._accepted:
            raise NoCounterpartError("a listener that refuses all is none: leave it out")
        migration = self.proxies[0].migration
        for accept, sources in self._accepted:
            self._allowed += sources
            migration.translated(accept, f"{_LISTENER}.allow")
        self._accepted.clear()
        migration.translated(directive, f"{_LISTENER}.allow")

    def of_connections(self, directive: Directive, counter: tuple[str, int]) -> None:
        """Add a limit of connections of one client. Raises NoCounterpartError."""
        self._check()
        name, limit = counter
        migration = self.proxies[0].migration
        if name == "conn_cur":
            self._numbers["max_per_source"] = limit
            migration.translated(directive, f"{_LISTENER}.max_per_source")
        elif name in ("conn_rate", "sess_rate"):
            rate = limit / self._period(name)
            self._numbers["rate_per_source"] = max(1, ceil(rate))
            migration.translated(directive, f"{_LISTENER}.rate_per_source", "bursts are of as many as a second has")
        else:
            raise NoCounterpartError("`rate` of a route")

    def rate_of_requests(self, directive: Directive, limit: int) -> tuple[str, int]:
        """Return ``rate`` and ``burst`` for a number of requests in the period of the stick table."""
        period = self._period("http_req_rate")
        for unit, seconds in (("s", 1), ("m", 60), ("h", 3600)):
            rate = limit * seconds / period
            if rate >= 1 and rate == int(rate):
                return f"{int(rate)}/{unit}", max(1, limit)
        self.proxies[0].migration.translated(directive, note="the rate is rounded up")
        return f"{max(1, ceil(limit * 60 / period))}/m", max(1, limit)

    def close(self) -> None:
        """Let in nobody but this host: who else may come cannot be said."""
        self._allowed[:] = ["127.0.0.1", "::1"]

    def finish(self, migration: Migration) -> None:
        """Settle rules that let clients in before nothing refuses the others."""
        for directive, _ in self._accepted:
            migration.not_needed(directive, "what is not refused is accepted")
        self._accepted.clear()

    def fill(self, listener: DraftTable) -> None:
        """Write them into a listener."""
        for key, networks in (("allow", self._allowed), ("deny", self._denied)):
            if networks:
                listener[key] = [*dict.fromkeys(networks)]
        listener.update(self._numbers)

    def _check(self) -> None:
        if not self.applies:
            raise NoCounterpartError("pools have no rules about clients: those of the listener")

    def _period(self, counter: str) -> float:
        """Return the period of a counter, as a stick table says it, in seconds; 10 if none does."""
        for proxy in self.proxies:
            for table in proxy.own("stick-table"):
                for word in table.args:
                    for each in word.split(","):
                        if each.startswith(f"{counter}("):
                            proxy.migration.translated(table, f"{_LISTENER}.routes.rate")
                            return time_of(each[len(counter) + 1 : -1])
        return 10
