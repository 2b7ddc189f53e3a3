"""Traefik's services as pools."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from math import gcd, lcm
from urllib.parse import urlsplit

import attrs

from lb.tools.migrate.draft import Draft, DraftTable, DraftValue
from lb.tools.migrate.traefik.durations import go_duration
from lb.tools.migrate.traefik.sections import Section

__all__ = ["ServicePools", "plain_name"]

_DEFAULTS: Mapping[str, str] = {"dialTimeout": "30s", "responseHeaderTimeout": "0s", "idleConnTimeout": "90s"}
_KEPT = 200
_CHECK_INTERVAL, _CHECK_TIMEOUT = "30s", "5s"
_STRATEGIES = {"wrr": "weighted", "p2c": "random-two", "hrw": "consistent-hash", "leasttime": "least-conn"}
_MOST_WEIGHT = 65_535


def plain_name(name: str) -> str:
    """Return the name of a router, a service or a middleware without its provider."""
    return name.removesuffix("@file")


@attrs.define
class ServicePools:
    """The pools of ``http`` or of ``tcp``, made when a router uses them."""

    section: Section
    draft: Draft
    is_http: bool
    _own_hosts: set[DraftTable] = attrs.field(factory=set)
    """Pools whose servers see their own address as Host."""
    _names: dict[str, str] = attrs.field(factory=dict)

    def use(self, name: str) -> str | None:
        """Return the name of the pool of a service; None if there is no such service, or it has no servers."""
        name = plain_name(name)
        if name in self._names:
            return self._names[name]
        service = self.section.entry("services", name)
        if service is None:
            return None
        self._names[name] = pool_name = name if name not in self.draft.table("pools").below else f"{name}-tcp"
        pool = self.draft.pool(pool_name)
        service.migration.place(service.directive, pool)
        pool["servers"] = servers = self._servers(service, pool)
        if not servers:
            self.draft.table("pools").below.pop(pool_name)
            del self._names[name]
            return None
        if "health" not in pool.below:
            pool["health"] = False
        pool.table("passive")["failures"] = 0
        return pool_name

    def hides_host(self, name: str) -> bool:
        """Whether the servers of a pool see their own address as Host."""
        return self.draft.pool(name) in self._own_hosts

    def _servers(self, service: Section, pool: DraftTable) -> list[DraftValue]:
        balanced = service.child("loadBalancer")
        if balanced is not None:
            return self._balanced(balanced, pool)
        weighted = service.child("weighted")
        if weighted is not None:
            self._sticky(weighted, pool)
            return self._weighted(weighted, pool)
        failover = service.child("failover")
        if failover is not None:
            main = self._part(failover.text("service"), pool)
            spare = self._part(failover.text("fallback"), pool)
            return [*main, *({**_as_table(each), "backup": True} for each in spare)]
        mirrored = service.child("mirroring")
        if mirrored is not None:
            mirrors = mirrored.child("mirrors")
            if mirrors is not None:
                mirrors.gap("requests are not copied")
            return self._part(mirrored.text("service"), pool)
        return []

    def _part(self, name: str, pool: DraftTable) -> list[DraftValue]:
        """Return the servers of a service that is a part of another one."""
        found = self.section.entry("services", plain_name(name))
        return self._servers(found, pool) if found is not None else []

    def _weighted(self, section: Section, pool: DraftTable) -> list[DraftValue]:
        """Return the servers of all parts: each part's weight is shared by its servers."""
        parts = []
        for each in section.children("services"):
            servers = self._part(each.text("name"), pool)
            weight = int(each.text("weight") or "1")
            if servers:
                parts.append((weight, servers))
        scale = reduce(lcm, (len(servers) for _, servers in parts), 1)
        shares = [weight * scale // len(servers) for weight, servers in parts]
        common = reduce(gcd, shares, 0) or 1
        return [
            {**_as_table(server), "weight": min(share // common, _MOST_WEIGHT)}
            for share, (_, servers) in zip(shares, parts, strict=True)
            for server in servers
        ]

    def _balanced(self, section: Section, pool: DraftTable) -> list[DraftValue]:
        found = [server for each in section.children("servers") if (server := self._server(each, pool)) is not None]
        self._sticky(section, pool)
        strategy = _STRATEGIES.get(section.text("strategy").lower(), "weighted")
        if strategy != "weighted":
            pool["strategy"] = strategy
        check = section.child("healthCheck")
        if check is not None:
            _health(pool.table("health"), check)
        if self.is_http:
            if section.text("passHostHeader") == "false":
                self._own_hosts.add(pool)
            self._transport(section.text("serversTransport"), pool)
        header = section.child("proxyProtocol")
        if header is not None:
            pool["send_proxy"] = f"v{header.text('version') or '2'}"
        return found

    def _server(self, section: Section, pool: DraftTable) -> DraftValue | None:
        address = section.text("address", "pools.NAME.servers")
        if not self.is_http:
            if section.flag("tls"):
                pool["tls"] = True
            return address or None
        url = section.text("url", "pools.NAME.servers")
        parts = urlsplit(url)
        if not parts.hostname or parts.scheme not in ("http", "https", "h2c"):
            section.gap("servers are `http://host:port` or `https://host:port`")
            return None
        if parts.scheme == "https" and "tls" not in pool.below:
            pool["tls"] = pool.get("tls") or True
        if parts.scheme == "h2c":
            pool.table("http")["protocol"] = "h2"
        if parts.path.strip("/"):
            section.migration.gap(section.directive, "`add_prefix` of the route")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        address = f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        weight = section.text("weight")
        return {"address": address, "weight": int(weight)} if weight not in ("", "1") else address

    def _sticky(self, section: Section, pool: DraftTable) -> None:
        cookie = section.child("sticky", "cookie")
        if cookie is not None:
            pool["sticky"] = {"cookie": cookie.text("name") or "lb"}
            for each in cookie.directive.block or ():
                cookie.migration.not_needed(each, "the cookie is HttpOnly and SameSite=Lax, over TLS Secure, too")

    def _transport(self, name: str, pool: DraftTable) -> None:
        """Write what a transport says, or Traefik's defaults."""
        found = self.section.entry("serversTransports", plain_name(name))
        times = found.child("forwardingTimeouts") if found is not None else None
        values = {key: (times.text(key) if times is not None else "") or value for key, value in _DEFAULTS.items()}
        pool["connect_timeout"] = go_duration(values["dialTimeout"])
        http = pool.table("http")
        http["response_timeout"] = go_duration(values["responseHeaderTimeout"])
        http["keep_alive_timeout"] = go_duration(values["idleConnTimeout"])
        kept = int((found.text("maxIdleConnsPerHost") if found is not None else "") or "0")
        http["keep_alive"] = _KEPT if not kept else max(kept, 0)
        if found is not None and "tls" in pool:
            _fill_tls(pool, found)


def _as_table(server: DraftValue) -> dict[str, DraftValue]:
    return {**server} if isinstance(server, dict) else {"address": server}


def _fill_tls(pool: DraftTable, transport: Section) -> None:
    tls: dict[str, DraftValue] = {}
    if transport.text("insecureSkipVerify") == "true":
        tls["verify"] = False
    name, authorities = transport.text("serverName"), transport.texts("rootCAs")
    if name:
        tls["server_name"] = name
    if authorities:
        tls["ca"] = authorities[0]
    for each in [*transport.children("certificates")][:1]:
        tls["certificate"], tls["key"] = each.text("certFile"), each.text("keyFile")
    if tls:
        pool["tls"] = tls


def _health(health: DraftTable, check: Section) -> None:
    """Write a check. One failure takes a server down, one success brings it back."""
    if check.text("mode") == "grpc":
        health["probe"] = "grpc"
        for key in ("path", "method", "hostname", "status", "headers", "followRedirects"):
            if (line := check.line(key)) is not None:
                check.migration.all_not_needed(line, "a check of mode grpc does not use it")
    else:
        _http_check(health, check)
    port, down = check.text("port"), check.text("unhealthyInterval")
    if port not in ("", "0"):
        health["port"] = int(port)
    interval = go_duration(check.text("interval") or _CHECK_INTERVAL)
    health.update({"interval": interval, "fast_interval": interval})
    if down:
        health["down_interval"] = go_duration(down)
    health.update({"timeout": go_duration(check.text("timeout") or _CHECK_TIMEOUT), "rise": 1, "fall": 1})
    if check.text("scheme") == "https":
        health["tls"] = True


def _http_check(health: DraftTable, check: Section) -> None:
    """Write what a check asks for, and what it expects."""
    health["probe"] = "http"
    method, host = check.text("method"), check.text("hostname")
    status, headers = check.text("status"), check.child("headers")
    health.update({"path": check.text("path") or "/", "expect_status": status or "200-399"})
    health.update({key: value for key, value in (("method", method), ("host", host)) if value})
    if headers is not None:
        fields = {each.name: each.args[0] for each in headers.directive.block or () if headers.text(each.name)}
        host_field = next((name for name in fields if name.lower() == "host"), "")
        if host_field:
            health["host"] = fields.pop(host_field)
        if fields:
            health["headers"] = {**fields}
