"""``server`` and ``server-template`` lines as servers of a pool, and what of them is one of the whole pool here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from lb.tools.migrate.amounts import seconds_as_text
from lb.tools.migrate.draft import DraftTable, DraftValue
from lb.tools.migrate.haproxy.proxies import Proxy
from lb.tools.migrate.haproxy.values import address_of_server, time_of
from lb.tools.migrate.migration import Directive, Migration

__all__ = ["ServerLine", "common", "fill_servers", "server_lines"]

_WITH_ARGUMENT = {
    *("weight", "maxconn", "minconn", "maxqueue", "inter", "fastinter", "downinter", "rise", "fall", "port", "addr"),
    *("cookie", "slowstart", "on-error", "on-marked-down", "on-marked-up", "error-limit", "observe", "ca-file", "sni"),
    *("crl-file", "crt", "ciphers", "ciphersuites", "curves", "alpn", "npn", "check-alpn", "check-sni", "check-proto"),
    *(
        "verify",
        "verifyhost",
        "ssl-min-ver",
        "ssl-max-ver",
        "resolvers",
        "resolve-prefer",
        "resolve-net",
        "resolve-opts",
    ),
    *("init-addr", "source", "usesrc", "agent-port", "agent-addr", "agent-inter", "agent-send", "id", "namespace"),
    *("pool-max-conn", "pool-purge-delay", "pool-low-conn", "max-reuse", "proto", "log-proto", "redir", "track", "ws"),
    *("tcp-ut", "proxy-v2-options", "socks4", "shard", "interface", "init-state", "hash-key", "guid", "log-bufsize"),
}
_GAPS = {
    "track": "checks are of each pool: checks of the same server cost little",
    "redir": "`redirect` of a route",
    "socks4": "servers are connected to directly",
    "namespace": "the balancer runs in one network namespace",
    "crl-file": "`ca` alone judges certificates",
    "usesrc": "`send_proxy` tells servers the client's address",
    "minconn": "`max_connections` does not move with the load",
    "interface": "`source` of the pool",
    "maxqueue": "`queue` is one of the pool",
}
_OF_SOME = {"on-marked-up"}
"""What has no meaning for some of the servers."""

ServerLine: TypeAlias = tuple[Directive, Mapping[str, str]]
"""A line with its options, those of ``default-server`` among them; a switch has the value ``""``."""


def server_lines(proxy: Proxy) -> list[ServerLine]:
    """Return the servers of a proxy."""
    defaults: dict[str, str] = {}
    found: list[ServerLine] = []
    for each in proxy.all("default-server", "server", "server-template"):
        at = {"default-server": 0, "server": 2, "server-template": 3}[each.name]
        if each.name == "server-template" and not re.fullmatch(r"[0-9]+(-[0-9]+)?", "".join(each.args[1:2])):
            proxy.migration.gap(each, "a prefix, a number and a name")
            continue
        options = _options(each.args[at:])
        if each.name == "default-server":
            defaults.update(options)
            proxy.migration.translated(each)
        else:
            off = {key[3:] for key in options if key.startswith("no-")}
            known = {**defaults, **options}
            found.append((each, {key: known[key] for key in known if key not in off and key[:3] != "no-"}))
    return found


def _options(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = [*words]
    while rest:
        word = rest.pop(0)
        found[word] = rest.pop(0) if word in _WITH_ARGUMENT and rest else ""
    return found


def common(lines: Sequence[ServerLine], option: str, migration: Migration) -> str | None:
    """Return the value of an option that is one of the whole pool here; None if no server has it.

    The most frequent counts; for the others it is a gap.
    """
    found = [(each, options.get(option)) for each, options in lines]
    given = [value for _, value in found if value is not None]
    if not given:
        return None
    value = Counter(given).most_common(1)[0][0]
    for each, other in found:
        if other not in (value, None) or (other is None and option not in _OF_SOME):
            migration.gap(each, f"`{option}` is one for all servers of a pool here: {value or 'yes'}")
    return value


def fill_servers(pool: DraftTable, proxy: Proxy, lines: Sequence[ServerLine]) -> None:
    """Write the servers of a pool, and what is one of all of them."""
    servers = [found for each, options in lines if (found := _server(each, options, proxy.migration)) is not None]
    pool["servers"] = servers
    slow = common(lines, "slowstart", proxy.migration)
    if slow is not None:
        pool["slow_start"] = seconds_as_text(time_of(slow))
    if common(lines, "on-marked-down", proxy.migration) == "shutdown-sessions":
        pool["on_down"] = "close"
    if common(lines, "on-marked-up", proxy.migration) == "shutdown-backup-sessions":
        pool["on_return"] = "close"
    source = common(lines, "source", proxy.migration)
    if source is not None:
        pool["source"] = source.rpartition(":")[0] or source
    _proxy_header(pool, lines, proxy.migration)
    if any("maxconn" in options for _, options in lines):
        _queue(pool, proxy)


def _server(line: Directive, options: Mapping[str, str], migration: Migration) -> DraftValue | None:
    """Return a server: its address, or a table if it says more; None if it cannot be one."""
    migration.translated(line, "pools.NAME.servers")
    for option in options.keys() & _GAPS.keys():
        migration.gap(line, _GAPS[option])
    found: dict[str, DraftValue] = {}
    if line.name == "server-template":
        found = _from_dns(line.args[2])
    else:
        address = address_of_server(line.args[1])
        if address is None:
            migration.gap(line, "an address is a host and a port, or a Unix socket; without a port, that of the client")
            return None
        found = {"name": line.args[0], "address": address}
    found.update(_numbers(options))
    if "dns" in found:
        found.pop("check_address", None)
    return found


def _from_dns(text: str) -> dict[str, DraftValue]:
    """Return the servers of a name: of its SRV records if it begins so, else of its addresses."""
    host, _, port = text.partition(":")
    return {"dns": host} if host.startswith("_") else {"dns": host, "port": int(port or "80")}


def _numbers(options: Mapping[str, str]) -> dict[str, DraftValue]:
    found: dict[str, DraftValue] = {}
    for option, key in (("weight", "weight"), ("maxconn", "max_connections"), ("port", "check_port")):
        if option in options and (option, options[option]) != ("weight", "1"):
            found[key] = int(options[option])
    if "addr" in options:
        found["check_address"] = options["addr"]
    if "backup" in options:
        found["backup"] = True
    if "disabled" in options:
        found["weight"] = 0
    return found


def _proxy_header(pool: DraftTable, lines: Sequence[ServerLine], migration: Migration) -> None:
    for option, version in (("send-proxy", "v1"), ("send-proxy-v2", "v2"), ("send-proxy-v2-ssl", "v2")):
        if common(lines, option, migration) is not None:
            pool["send_proxy"] = version
            if option.endswith("ssl"):
                pool["proxy_tlvs"] = ["ssl"]
    names = common(lines, "proxy-v2-options", migration)
    if names is not None:
        known = [each for each in names.split(",") if each in ("authority", "alpn", "unique-id", "ssl", "crc32c")]
        pool["proxy_tlvs"] = [*known, *(["ssl"] if {"cert-cn", "ssl-cipher"} & {*names.split(",")} else [])]


def _queue(pool: DraftTable, proxy: Proxy) -> None:
    """Let clients wait for servers that are full, as long as HAProxy does."""
    patience = proxy.time("queue")
    if patience is None:
        patience = proxy.time("connect")
    pool["queue"] = _LONG_QUEUE
    if patience:
        pool["queue_timeout"] = seconds_as_text(patience)


_LONG_QUEUE = 10_000
"""HAProxy's queues end with the connections of the frontend."""
