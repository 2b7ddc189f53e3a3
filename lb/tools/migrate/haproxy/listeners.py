"""Frontends as listeners: their limits and times, and their routes or server names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from lb.tools.migrate.amounts import seconds_as_text
from lb.tools.migrate.draft import Draft, DraftTable
from lb.tools.migrate.first_match import RequestCondition, RequestMatch, combinations, routes_for, write_routes
from lb.tools.migrate.haproxy.backend_choice import BackendChoice
from lb.tools.migrate.haproxy.binds import BindGroup, TlsDefaults, bind_groups, fill_binds
from lb.tools.migrate.haproxy.proxies import Proxy
from lb.tools.migrate.haproxy.rules import ProxyRules, apply_rules
from lb.tools.migrate.haproxy.values import time_of
from lb.tools.migrate.route_edits import RouteEdits, answer_with

__all__ = ["BackendRoutes", "FrontDraft"]

_NO_SERVER = 503


@attrs.frozen
class BackendRoutes:
    """A backend, as far as routes need it."""

    rules: ProxyRules
    has_servers: bool
    is_compressed: bool


@attrs.define
class FrontDraft:
    """Makes the listeners of one frontend."""

    proxy: Proxy
    draft: Draft
    directory: Path
    tls: TlsDefaults
    rules: ProxyRules
    backends: Mapping[str, BackendRoutes]
    zones: Mapping[str, DraftTable]
    """What routes say of each cache."""
    choice: BackendChoice = attrs.field(init=False)

    def write(self, limit: int) -> None:
        """Write the listeners. ``limit``: of connections, unless the frontend has its own; 0 = none."""
        self.choice = BackendChoice(self.proxy, self.directory)
        self.choice.read(self.rules)
        by_port = any("port " in str(condition) for condition in self._conditions())
        groups = bind_groups(self.proxy, by_port=by_port)
        for number, group in enumerate(groups):
            suffix = "" if not number else "-tls" if group.is_tls and number == 1 else f"-{number + 1}"
            listener = self.draft.listener(f"{self.proxy.name}{suffix}")
            self.proxy.migration.place(self.proxy.section, listener)
            if self.proxy.is_http:
                listener["mode"] = "http"
            fill_binds(listener, group, self.proxy, self.tls, self.directory)
            self._limits(listener, limit)
            if self.proxy.is_http:
                self._http(listener)
                write_routes(listener, self._routes(group))
            else:
                self._tcp(listener)
                self._server_names(listener, group)

    # Limits and times

    def _limits(self, listener: DraftTable, limit: int) -> None:
        own = self.proxy.read("maxconn", int)
        found = limit if own is None else own
        if found:
            listener["max_connections"] = found
        backlog = self.proxy.read("backlog", int)
        if backlog is not None:
            listener["backlog"] = backlog
        self.rules.limits.fill(listener)

    def _http(self, listener: DraftTable) -> None:
        client = self.proxy.time("client") or 0
        request = self.proxy.time("http-request")
        head = client if request is None else request
        kept = self.proxy.time("http-keep-alive")
        listener["idle_timeout"] = seconds_as_text(client)
        if head:
            listener["header_timeout"] = seconds_as_text(head)
        idle = head if kept is None else kept
        if idle:
            listener["keep_alive"] = seconds_as_text(idle)
        if self.proxy.option("httpclose") is not None:
            listener["keep_alive"] = "0"
        tunnel = self.proxy.last("timeout tunnel")
        if tunnel is not None:
            note = "WebSockets end after `idle_timeout`, as the rest does: give them a listener of their own"
            longer = (self.proxy.time("tunnel") or 0) > client > 0
            self.proxy.migration.translated(tunnel, note=note if longer else "")
        self._forwarded(listener)

    def _forwarded(self, listener: DraftTable) -> None:
        option = self.proxy.option("forwardfor")
        if option is not None and "except" in option.args[:-1]:
            listener["trusted_proxies"] = [option.args[option.args.index("except") + 1]]

    def _tcp(self, listener: DraftTable) -> None:
        tunnel = self.proxy.time("tunnel")
        times = [each for each in (self.proxy.time("client"), self._server_time()) if each]
        idle = min(times, default=0) if tunnel is None else tunnel
        listener["idle_timeout"] = seconds_as_text(idle)
        ends = [each for each in (self.proxy.time("client-fin"), self.proxy.time("server-fin")) if each]
        listener["half_close_timeout"] = seconds_as_text(min(ends, default=idle))
        wait = self.proxy.read("tcp-request inspect-delay", time_of)
        if wait:
            listener["header_timeout"] = seconds_as_text(wait)

    def _server_time(self) -> float | None:
        """Return the shortest ``timeout server`` of the backends."""
        names = {name for _, name in self.choice.rules if name in self.backends}
        times = [self.backends[name].rules.proxy.time("server") for name in names]
        return min((each for each in times if each), default=None)

    # Routes

    def _conditions(self) -> list[RequestCondition]:
        """Return the conditions of all rules that its requests can meet."""
        named = dict.fromkeys(name for _, name in self.choice.rules if name in self.backends)
        chain = [self.rules, *(self.backends[name].rules for name in named)]
        rules = [rule for each in chain for rule in (*each.before, *each.after)]
        return [*(rule.condition for rule in rules), *(condition for condition, _ in self.choice.rules)]

    def _routes(self, group: BindGroup) -> Sequence[tuple[RequestMatch, RouteEdits]]:
        try:
            matches = combinations(self._conditions())
        except ValueError as error:
            self.proxy.migration.gap(self.proxy.section, f"{error}: until you decide, all get 503")
            return [(RequestMatch(), {"respond": "", "status": _NO_SERVER})]
        return [(match, dict(keys)) for match, keys in routes_for(matches, lambda match: self._decide(match, group))]

    def _decide(self, match: RequestMatch, group: BindGroup) -> RouteEdits:
        """Return what some requests get."""
        keys: RouteEdits = {}
        answered = apply_rules(self.rules.before, keys, match, group)
        name = self.choice.backend_of(match, group)
        backend = self.backends.get(name or "")
        if not answered and backend is not None:
            answered = apply_rules(backend.rules.before, keys, match, group)
        if not answered and (backend is None or not backend.has_servers):
            answer_with(keys, respond="", status=_NO_SERVER)
            answered = True
        if answered or backend is None or name is None:
            apply_rules(self.rules.on_answers, keys, match, group)
            return keys
        keys["pool"] = name
        for rules in (backend.rules, self.rules):
            apply_rules(rules.after, keys, match, group)
        if backend.is_compressed or self.proxy.all("compression algo"):
            keys["compress"] = True
        zone = keys.get("cache")
        if isinstance(zone, dict):
            keys["cache"] = {**zone, **self.zones.get(str(zone["zone"]), DraftTable()).keys}
        return keys

    def _server_names(self, listener: DraftTable, group: BindGroup) -> None:
        """Write the pools of a listener of mode tcp, by server name."""
        routes = self._routes(group)
        named = {match.host: str(keys["pool"]) for match, keys in routes if "pool" in keys and not match.path}
        other = named.pop("", None)
        if named and group.is_tls:
            for each in self.proxy.all("use_backend"):
                self.proxy.migration.gap(
                    each, 'a listener with `tls` has one pool in mode "tcp": mode "http" has routes'
                )
        elif named:
            sni = listener.table("sni")
            sni.update(dict(named))
            if other is not None:
                sni["default"] = other
            return
        if other is not None:
            listener["pool"] = other
