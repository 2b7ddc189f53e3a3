"""Checks of servers: ``check`` with its options, and ``option httpchk`` and its kind, as ``health`` of a pool."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby

from lb.tools.migrate.amounts import seconds_as_text
from lb.tools.migrate.draft import DraftTable, DraftValue
from lb.tools.migrate.haproxy.proxies import Proxy
from lb.tools.migrate.haproxy.servers import ServerLine, common
from lb.tools.migrate.haproxy.values import time_of
from lb.tools.migrate.migration import Directive

__all__ = ["fill_checks"]

_LDAP_BIND = r"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"
_LDAP_SUCCESS = r"(?s)^\x30.*\x0a\x01\x00"
_PROBES = ("mysql-check", "pgsql-check", "redis-check", "smtpchk", "ldap-check", "ssl-hello-chk", "external-check")
_STATUSES = range(100, 600)
_INTERVAL = 2.0
"""Seconds, HAProxy's ``inter``."""


def fill_checks(pool: DraftTable, proxy: Proxy, lines: Sequence[ServerLine]) -> None:
    """Write the checks of a pool. HAProxy's defaults are written out where ours are others."""
    probe = _probe(proxy)
    checked = [line for line in lines if "check" in line[1]]
    agents = [line for line in lines if "agent-check" in line[1]]
    if not checked and not agents:
        pool["health"] = False
        return
    health = pool.table("health")
    if checked and len(checked) < len(lines):
        for line, options in lines:
            if "check" not in options:
                proxy.migration.gap(line, "all servers of a pool are checked, or none")
    _times(health, proxy, checked or agents)
    if not agents:
        health.update(probe)
        _tls(health, proxy, checked)
        return
    agent: dict[str, DraftValue] = {"probe": "agent"}
    port, sent = common(agents, "agent-port", proxy.migration), common(agents, "agent-send", proxy.migration)
    agent.update({"port": int(port or "0"), **({"send": sent} if sent else {})})
    health["checks"] = [*([{"probe": "tcp", **probe}] if checked else []), agent]


def _times(health: DraftTable, proxy: Proxy, lines: Sequence[ServerLine]) -> None:
    migration = proxy.migration
    given = common(lines, "inter", migration) or common(lines, "agent-inter", migration)
    interval = time_of(given) if given else _INTERVAL
    fast = common(lines, "fastinter", migration)
    down = common(lines, "downinter", migration)
    if interval != _INTERVAL:
        health["interval"] = seconds_as_text(interval)
    health["fast_interval"] = seconds_as_text(time_of(fast) if fast else interval)
    if down:
        health["down_interval"] = seconds_as_text(time_of(down))
    limit = proxy.time("check")
    health["timeout"] = seconds_as_text(interval if limit is None else limit)
    for option in ("rise", "fall"):
        number = common(lines, option, migration)
        if number is not None:
            health[option] = int(number)


def _tls(health: DraftTable, proxy: Proxy, lines: Sequence[ServerLine]) -> None:
    if common(lines, "check-ssl", proxy.migration) is not None and not all("ssl" in options for _, options in lines):
        name = common(lines, "check-sni", proxy.migration)
        verify = common(lines, "verify", proxy.migration)
        found: dict[str, DraftValue] = {"server_name": name} if name else {}
        health["tls"] = {**found, "verify": False} if verify == "none" else found or True


def _probe(proxy: Proxy) -> dict[str, DraftValue]:
    """Return the probe of a proxy and its options; nothing for a plain connect."""
    http = proxy.option("httpchk")
    if http is not None:
        return _http(proxy, http)
    if proxy.option("tcp-check") is not None:
        return _conversation(proxy)
    for name in _PROBES:
        found = proxy.option(name)
        if found is not None:
            return _by_name(proxy, name, found)
    return {}


def _by_name(proxy: Proxy, name: str, option: Directive) -> dict[str, DraftValue]:
    words = option.args
    user = words[words.index("user") + 1] if "user" in words[:-1] else ""
    match name:
        case "mysql-check":
            return {"probe": "mysql", "user": user} if user else {"probe": "mysql"}
        case "pgsql-check":
            return {"probe": "postgres", "user": user} if user else {"probe": "postgres"}
        case "redis-check":
            return {"probe": "redis"}
        case "smtpchk":
            return {"probe": "smtp", "hello": words[1]} if len(words) > 1 else {"probe": "smtp"}
        case "ldap-check":
            return {"probe": "exchange", "send": _LDAP_BIND, "expect": _LDAP_SUCCESS}
        case "ssl-hello-chk":
            return {"probe": "tls"}
    command = proxy.last("external-check command")
    if command is None:
        return {}
    proxy.migration.translated(
        command, note="the program gets LB_POOL, LB_SERVER, LB_HOST and LB_PORT, in place of arguments"
    )
    return {"probe": "exec", "command": [*command.args]}


# HTTP


def _http(proxy: Proxy, option: Directive) -> dict[str, DraftValue]:
    """Return a check by HTTP: ``option httpchk`` with ``http-check``."""
    words = option.args
    path = next((each for each in words if each.startswith(("/", "*"))), "/")
    found: dict[str, DraftValue] = {
        "probe": "http",
        "method": words[0] if words and not words[0].startswith("/") else "OPTIONS",
        "path": path,
    }
    old_style = re.search(r"Host:\s*([\w.:-]+)", " ".join(words), re.IGNORECASE)
    if old_style:
        found["host"] = old_style[1]
    sends = proxy.all("http-check send")
    for each in sends[:1]:
        _send(found, each, proxy)
    for each in sends[1:]:
        proxy.migration.gap(each, "a check is one request: several are `checks`")
    for each in proxy.all("http-check connect"):
        _connect(found, each, proxy)
    for each in proxy.all("http-check expect"):
        _expect(found, each, proxy)
    return found


def _send(found: dict[str, DraftValue], line: Directive, proxy: Proxy) -> None:
    proxy.migration.translated(line)
    rest = [*line.args]
    headers: dict[str, DraftValue] = {}
    while rest:
        word = rest.pop(0)
        if word == "hdr" and len(rest) > 1:
            name, value = rest.pop(0), rest.pop(0)
            if name.lower() == "host":
                found["host"] = value
            else:
                headers[name] = value
        elif word in ("meth", "uri", "ver") and rest:
            value = rest.pop(0)
            found.update({"method": value} if word == "meth" else {"path": value} if word == "uri" else {})
        else:
            proxy.migration.gap(line, "a check has no body, and no variables")
            break
    if headers:
        found["headers"] = headers


def _connect(found: dict[str, DraftValue], line: Directive, proxy: Proxy) -> None:
    proxy.migration.translated(line)
    options = dict(zip(line.args, (*line.args[1:], ""), strict=False))
    if options.get("port", "").isdigit():
        found["port"] = int(options["port"])
    if "ssl" in options:
        found["tls"] = {"server_name": options["sni"]} if options.get("sni") else True


def _expect(found: dict[str, DraftValue], line: Directive, proxy: Proxy) -> None:
    words = [each for each in line.args if each != "!"]
    negated = "!" in line.args
    proxy.migration.translated(line)
    kind = next((each for each in words if each in ("status", "rstatus", "string", "rstring")), "")
    text = words[words.index(kind) + 1] if kind and words[-1] != kind else ""
    if kind in ("status", "rstatus"):
        passed = [each for each in _STATUSES if _matches(kind, text, each) is not negated]
        found["expect_status"] = _ranges(passed)
    elif kind in ("string", "rstring") and not negated:
        found["expect_status"] = "100-599"
        found["expect_body"] = re.escape(text) if kind == "string" else text
        proxy.migration.translated(line, "pools.NAME.health.expect_body")
    else:
        proxy.migration.gap(line, "`expect_status`, and `expect_body` that must match")


def _matches(kind: str, text: str, status: int) -> bool:
    if kind == "rstatus":
        return re.search(text, str(status)) is not None
    bounds = [each.partition("-") for each in text.split(",")]
    return any(int(low) <= status <= int(high or low) for low, _, high in bounds if low.isdigit())


def _ranges(statuses: Sequence[int]) -> str:
    """Return numbers as ``200-299,404``."""
    found = []
    for _, group in groupby(enumerate(statuses), lambda pair: pair[1] - pair[0]):
        numbers = [each for _, each in group]
        found.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return ",".join(found)


# Bytes


def _conversation(proxy: Proxy) -> dict[str, DraftValue]:
    """Return the steps of ``tcp-check``."""
    steps: list[dict[str, DraftValue]] = []
    found: dict[str, DraftValue] = {}
    for each in proxy.all("tcp-check connect", "tcp-check send", "tcp-check send-binary", "tcp-check expect"):
        if each.name == "tcp-check connect":
            if steps or "port" in found:
                proxy.migration.gap(each, "a check has one connection: several are `checks`")
            else:
                _connect(found, each, proxy)
        elif each.name == "tcp-check expect":
            expected = _expected(each, proxy)
            if expected is not None:
                _add_step(steps, "expect", expected)
        else:
            proxy.migration.translated(each)
            binary = each.name.endswith("binary")
            text = each.args[0] if each.args else ""
            _add_step(steps, "send", re.sub("(..)", r"\\x\1", text) if binary else text)
    if not steps:
        return found
    options: Mapping[str, DraftValue] = steps[0] if len(steps) == 1 else {"steps": [*steps]}
    return {**found, "probe": "exchange", **options}


def _add_step(steps: list[dict[str, DraftValue]], key: str, value: str) -> None:
    if not steps or key in steps[-1] or (key == "send" and "expect" in steps[-1]):
        steps.append({})
    steps[-1][key] = value


def _expected(line: Directive, proxy: Proxy) -> str | None:
    words = line.args
    kind = next((each for each in words if each in ("string", "rstring", "binary", "rbinary")), "")
    text = words[words.index(kind) + 1] if kind and words[-1] != kind else None
    if "!" in words or text is None or kind == "rbinary":
        proxy.migration.gap(line, "`expect` is what must match")
        return None
    proxy.migration.translated(line)
    if kind == "binary":
        return re.sub("(..)", r"\\x\1", text)
    return text if kind == "rstring" else re.escape(text)
