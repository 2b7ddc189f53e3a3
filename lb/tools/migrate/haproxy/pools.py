"""Backends as pools. What HAProxy does by default is written out where ours is another."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lb.tools.migrate.amounts import seconds_as_text
from lb.tools.migrate.draft import DraftTable, DraftValue
from lb.tools.migrate.haproxy.binds import TlsDefaults, path_below
from lb.tools.migrate.haproxy.checks import fill_checks
from lb.tools.migrate.haproxy.proxies import Proxy
from lb.tools.migrate.haproxy.servers import ServerLine, common, fill_servers
from lb.tools.migrate.migration import Directive

__all__ = ["fill_pool"]

_RETRIES = 3
_KERNEL = "2m"
"""As long as Linux tries to connect; HAProxy without ``timeout connect`` waits for it."""
_STRATEGIES: dict[str, DraftValue] = {
    "roundrobin": "weighted",
    "static-rr": "weighted",
    "leastconn": "least-conn",
    "random": "random-two",
    "first": "first",
    "source": "consistent-hash",
    "uri": {"name": "consistent-hash", "key": "path"},
}
_REASONS = {
    "empty-response": ("reset",),
    "conn-failure": (),
    "response-timeout": ("timeout",),
    "junk-response": ("reset",),
    "0rtt-rejected": (),
    "all-retryable-errors": ("reset", "timeout", "502", "503", "504"),
    "none": (),
    **{each: (each,) for each in ("502", "503", "504")},
}
_ERROR_LIMIT = 10


def fill_pool(
    pool: DraftTable, proxy: Proxy, lines: Sequence[ServerLine], tls: TlsDefaults, nameservers: Sequence[str]
) -> None:
    """Write the pool of a backend."""
    _strategy(pool, proxy)
    _sticky(pool, proxy)
    fill_servers(pool, proxy, lines)
    connect = proxy.time("connect")
    pool["connect_timeout"] = seconds_as_text(connect) if connect else _KERNEL
    _retries(pool, proxy)
    if nameservers and any({"resolvers"} & options.keys() for _, options in lines):
        pool["nameservers"] = [*nameservers]
    source = proxy.read("source", str)
    if source is not None:
        pool["source"] = source.rpartition(":")[0] or source
    fill_checks(pool, proxy, lines)
    _passive(pool, proxy, lines)
    if any("ssl" in options for _, options in lines):
        _tls(pool, proxy, lines, tls)
    if proxy.is_http:
        _http(pool.table("http"), proxy, lines)
    _backups(proxy, lines)


def _strategy(pool: DraftTable, proxy: Proxy) -> None:
    found = proxy.last("balance")
    for each in (*proxy.all("hash-type"), *proxy.all("balance")):
        proxy.migration.translated(each)
    if found is None or not found.args:
        return
    word, argument = _call(found.args[0])
    strategy = _STRATEGIES.get(word)
    if word == "uri" and "whole" in found.args:
        strategy = {"name": "consistent-hash", "key": "uri"}
    elif word == "url_param" and len(found.args) > 1:
        strategy = {"name": "consistent-hash", "key": f"query:{found.args[1]}"}
    elif word == "hdr":
        strategy = {"name": "consistent-hash", "key": "host" if argument.lower() == "host" else f"header:{argument}"}
    elif word == "hash" and len(found.args) > 1:
        strategy = _of_sample(found.args[1])
    if strategy is None:
        proxy.migration.gap(found, "keys are source-ip, uri, path, host, header:NAME, cookie:NAME, query:NAME")
    elif strategy != "weighted":
        pool["strategy"] = strategy
    if strategy is not None and "consistent-hash" in str(strategy):
        proxy.migration.translated(found, note="the same key gets the same server, but another one than before")


def _call(text: str) -> tuple[str, str]:
    name, _, argument = text.partition("(")
    return name, argument.rstrip(")")


def _of_sample(text: str) -> DraftValue | None:
    """Return the strategy for a sample: ``balance hash``, ``stick on``."""
    name, argument = _call(text.partition(",")[0])
    kinds = {"req.cook": "cookie", "cook": "cookie", "url_param": "query", "urlp": "query", "hdr": "header"}
    kind = {**kinds, "req.hdr": "header", "req.fhdr": "header"}.get(name)
    if name == "src":
        return "consistent-hash"
    if name in ("path", "url", "pathq"):
        return {"name": "consistent-hash", "key": "path" if name == "path" else "uri"}
    if kind is None or not argument:
        return None
    key = "host" if (kind, argument.lower()) == ("header", "host") else f"{kind}:{argument}"
    return {"name": "consistent-hash", "key": key}


def _sticky(pool: DraftTable, proxy: Proxy) -> None:
    cookie = proxy.last("cookie")
    if cookie is not None:
        if {"insert", "rewrite"} & {*cookie.args} and "preserve" not in cookie.args:
            pool["sticky"] = {"cookie": cookie.args[0]}
            note = "its value is a signature, not a name: clients get a new one once"
            proxy.migration.translated(cookie, note=note)
        else:
            proxy.migration.gap(cookie, '`sticky = { cookie = "NAME" }`: the cookie is the balancer\'s own')
    for each in proxy.all("stick on", "stick match", "stick store-request"):
        strategy = _of_sample(each.args[0]) if each.args else None
        if strategy is None:
            proxy.migration.gap(each, "`consistent-hash` by client, header or cookie, or `sticky`")
            continue
        pool["strategy"] = strategy
        for table in proxy.own("stick-table"):
            proxy.migration.translated(table, "pools.NAME.strategy")
        proxy.migration.translated(each, note="by a hash in place of a table: clients move when servers are added")


def _retries(pool: DraftTable, proxy: Proxy) -> None:
    redispatch = proxy.option("redispatch")
    given = proxy.read("retries", int)
    number = _RETRIES if given is None else given
    pool["retries"] = number
    line = proxy.last("retries")
    if line is not None and redispatch is None and number:
        proxy.migration.translated(line, note="a retry goes to another server")


def _passive(pool: DraftTable, proxy: Proxy, lines: Sequence[ServerLine]) -> None:
    observed = common(lines, "observe", proxy.migration)
    passive = pool.table("passive")
    if observed is None:
        passive["failures"] = 0
        return
    limit = common(lines, "error-limit", proxy.migration)
    passive["failures"] = int(limit) if limit else _ERROR_LIMIT
    if observed == "layer7":
        passive["statuses"] = ["500", "502-504", "506-599"]


def _tls(pool: DraftTable, proxy: Proxy, lines: Sequence[ServerLine], defaults: TlsDefaults) -> None:
    tls: dict[str, DraftValue] = {}
    common(lines, "ssl", proxy.migration)
    verify = common(lines, "verify", proxy.migration)
    authority = common(lines, "ca-file", proxy.migration)
    name = common(lines, "sni", proxy.migration)
    if authority is not None and not authority.startswith("@"):
        tls["ca"] = path_below(defaults.authorities, authority)
    certificate = common(lines, "crt", proxy.migration)
    if certificate is not None:
        tls["certificate"] = path_below(defaults.certificates, certificate)
    if verify == "none":
        tls["verify"] = False
    host = re.fullmatch(r"str\(([^)]*)\)", name or "") or re.fullmatch(
        "(.+)", common(lines, "verifyhost", proxy.migration) or ""
    )
    if host:
        tls["server_name"] = host[1]
    elif name is not None:
        proxy.migration.gap(lines[0][0], "`server_name` is one name; empty is the host of the server's address")
    alpn = common(lines, "alpn", proxy.migration)
    if alpn is not None and not proxy.is_http:
        tls["alpn"] = [*alpn.split(",")]
    pool["tls"] = tls or True


def _http(http: DraftTable, proxy: Proxy, lines: Sequence[ServerLine]) -> None:
    if "h2" in (common(lines, "proto", proxy.migration), common(lines, "alpn", proxy.migration)):
        http["protocol"] = "h2"
    server = proxy.time("server")
    http["response_timeout"] = seconds_as_text(server or 0)
    reuse = proxy.read("http-reuse", str)
    closing = [each for each in ("http-server-close", "httpclose") if proxy.option(each) is not None]
    if reuse == "never" or closing:
        http["keep_alive"] = 0
    reasons = proxy.last("retry-on")
    http["retry_on"] = []
    if reasons is not None:
        _reasons(http, reasons, proxy)


def _reasons(http: DraftTable, line: Directive, proxy: Proxy) -> None:
    proxy.migration.translated(line)
    for each in line.args:
        for reason in _REASONS.get(each, ()):
            http.extend("retry_on", reason)
    unknown = [each for each in line.args if each not in _REASONS]
    if unknown:
        proxy.migration.gap(line, f"{', '.join(unknown)}: reset, timeout, 502, 503 and 504 are reasons to try again")


def _backups(proxy: Proxy, lines: Sequence[ServerLine]) -> None:
    """Say that all backup servers are used here, where HAProxy uses the first one."""
    backups = [line for line, options in lines if "backup" in options]
    if proxy.option("allbackups") is None and len(backups) > 1:
        proxy.migration.translated(backups[1], note="all backup servers are used, not the first one alone")
