"""The block ``stream``: its servers as listeners of mode ``tcp``."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import attrs

from lb.tools.migrate.draft import Draft, DraftTable
from lb.tools.migrate.migration import Directive
from lb.tools.migrate.nginx.listener_settings import access_rules, fill_access, fill_connections
from lb.tools.migrate.nginx.listens import merged, read_listen
from lb.tools.migrate.nginx.pools import PoolDrafts, fill_tries_and_source
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.tls import fill_listener_tls, fill_pool_tls
from lb.tools.migrate.nginx.units import as_duration, as_size, byte_count

__all__ = ["translate_stream"]

_SERVER_NAME = "$ssl_preread_server_name"


def translate_stream(stream: Scope, draft: Draft, directory: Path) -> None:
    """Add the listeners and pools of the block."""
    stream.migration.translated(stream.block)
    pools = PoolDrafts(stream, draft)
    for each in stream.own("server"):
        _Server(stream.inside(each), draft, pools, directory).translate()
    for each in stream.own("map"):
        if not stream.migration.knows(each):
            stream.migration.gap(each, "`sni` chooses a pool by the name in the TLS handshake")
            for inner in each.block or ():
                stream.migration.not_needed(inner, "a part of the `map` around it")
    pools.finish()


@attrs.define
class _Server:
    scope: Scope
    draft: Draft
    pools: PoolDrafts
    directory: Path

    def translate(self) -> None:
        scope, migration = self.scope, self.scope.migration
        listens = [read_listen(each) for each in scope.own("listen")]
        port = next((each.port for each in listens if each.port), "unix")
        if any(each.has("udp") for each in listens):
            migration.all_not_needed(scope.block, "a part of a server for UDP")
            migration.gap(scope.own("listen")[0], "UDP is not balanced: TCP is")
            return
        target = self._target(port)
        if target is None:
            return
        name = self._name(target, port)
        listener = self.draft.listener(name)
        migration.place(scope.block, listener)
        migration.translated(scope.block)
        listener["bind"] = merged([each.address for each in listens])
        for listen in listens:
            if listen.directive is not None:
                migration.translated(listen.directive)
        self._route(listener, name, target, port)
        self._settings(listener, has_tls=any(each.has("ssl") for each in listens))
        if any(each.has("proxy_protocol") for each in listens):
            networks: list[str] = [each.args[0] for each in scope.all("set_real_ip_from")]
            listener["accept_proxy"] = [*networks] if networks else True
        for each in scope.all("set_real_ip_from"):
            migration.translated(each, "listeners.NAME.accept_proxy")

    def _target(self, port: str) -> str | None:
        """Return what ``proxy_pass`` names: an upstream, an address, or a variable of a map."""
        directive = next(iter(self.scope.own("proxy_pass")), None)
        if directive is None:
            for each in self.scope.own("return"):
                self.scope.migration.gap(each, "`respond` of a route in mode `http`")
            self.scope.migration.gap(self.scope.block, "a listener has a pool")
            return None
        text = directive.args[0]
        known = self.scope.text(text, {"server_port": port})
        if known is None and self._map(text) is None:
            self.scope.migration.gap(directive, "`sni` chooses a pool by the name in the TLS handshake")
            self.scope.migration.gap(self.scope.block, "a listener has a pool")
            return None
        self.scope.migration.translated(directive, "listeners.NAME.pool")
        return known if known is not None else text

    def _map(self, variable: str) -> Directive | None:
        """Return the map from the server name of the handshake to this variable."""
        maps = [each for each in self.scope.all("map") if each.args[0] == _SERVER_NAME]
        return next((each for each in maps if each.args[1] == variable), None)

    def _name(self, target: str, port: str) -> str:
        """Return a name: that of the upstream, if the listener is the first to use it."""
        upstream = self.pools.upstream(target) is not None
        wanted = target if upstream else f"tcp-{port}"
        return f"{wanted}-{port}" if wanted in self.draft.table("listeners").below else wanted

    def _route(self, listener: DraftTable, listener_name: str, target: str, port: str) -> None:
        chosen = self._map(target)
        if chosen is None:
            name = self._pool(target, hint=f"tcp-{port}")
            if name != listener_name:
                listener["pool"] = name
            return
        migration = self.scope.migration
        migration.translated(chosen)
        sni = listener.table("sni")
        for each in chosen.block or ():
            if each.name in ("hostnames", "volatile"):
                migration.not_needed(each, "names may be wildcards")
            elif each.name.startswith("~") or not each.args or "$" in each.args[0]:
                migration.gap(each, "`sni` has names, and wildcards such as *.example.com")
            else:
                for name in self._names(each.name):
                    sni[name] = self._pool(each.args[0], hint=name.replace("*.", ""))
                migration.translated(each)
        for each in self.scope.all("ssl_preread"):
            migration.translated(each)

    def _names(self, key: str) -> list[str]:
        if key == "default":
            return [key]
        return [key[1:], f"*{key}"] if key.startswith(".") else [key]

    def _pool(self, target: str, *, hint: str) -> str:
        scope = self.scope
        has_tls = scope.is_on("proxy_ssl")
        name, pool = self.pools.use(target, kind="tls" if has_tls else "", hint=hint, port=0)
        if has_tls:
            fill_pool_tls(pool, scope, self.directory, host=re.sub(r":[0-9]+$", "", target))
        if scope.is_on("proxy_protocol"):
            pool["send_proxy"] = "v1"
        connect = scope.read("proxy_connect_timeout", as_duration)
        if connect is not None:
            pool["connect_timeout"] = connect
        if scope.take("proxy_next_upstream", "pools.NAME.retries") == "off":
            pool["retries"] = 0
        fill_tries_and_source(pool, scope, "proxy")
        return name

    def _settings(self, listener: DraftTable, *, has_tls: bool) -> None:
        scope = self.scope
        if has_tls:
            fill_listener_tls(listener, [scope], self.directory)
            for each in scope.all("ssl_alpn"):
                listener.table("tls")["alpn"] = [*each.args]
                scope.migration.translated(each)
        idle = scope.read("proxy_timeout", as_duration)
        if idle is not None:
            listener["idle_timeout"] = idle
        for name in ("preread_timeout", "proxy_protocol_timeout"):
            limit = scope.read(name, as_duration)
            if limit is not None:
                listener["header_timeout"] = limit
        self._rates(listener)
        held = fill_access(listener, [scope])
        for each in access_rules(scope):
            if each not in held:
                scope.migration.gap(each, "a network of `deny` is never let in: name those of `allow`")
        fill_connections(listener, [scope])

    def _rates(self, listener: DraftTable) -> None:
        names = ("proxy_upload_rate", "proxy_download_rate")
        read = {each: self.scope.read(each, partial(as_size, least=1024)) for each in names}
        rates = {each: rate for each, rate in read.items() if rate not in (None, "0")}
        if not rates:
            return
        values = {str(each) for each in rates.values()}
        listener["bandwidth"] = max(values, key=lambda each: byte_count(each.replace("iB", "").lower()))
        if len(rates) < len(names) or len(values) > 1:
            directive = self.scope.last(next(iter(rates)))
            assert directive is not None  # noqa: S101 - it was read
            self.scope.migration.gap(directive, "`bandwidth` is the same in both directions")
