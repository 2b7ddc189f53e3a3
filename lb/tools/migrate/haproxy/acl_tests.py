"""What one test of an ``acl`` says about a request: hosts, paths, methods, sources, rates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import attrs

from lb.tools.migrate.files import listed_values
from lb.tools.migrate.first_match import RequestMatch
from lb.tools.migrate.paths_and_hosts import hosts_of_regex, paths_of_pattern

__all__ = ["AclTest", "NoCounterpartError", "read_test", "values_of_file"]

_SAMPLE = re.compile(r"(?P<name>[\w.]+)(?:\((?P<arg>[^)]*)\))?(?P<converters>(?:,[\w.]+(?:\([^)]*\))?)*)")
_MATCHES = ("str", "beg", "end", "dom", "dir", "sub", "reg", "len", "found")
_HOSTS = ("hdr", "req.hdr", "req.fhdr", "hdr_host", "ssl_fc_sni", "req_ssl_sni", "req.ssl_sni")
_PATHS = ("path", "url", "capture.req.uri", "pathq")
_TRUE = ("always_true", "req_len", "req.len", "req_ssl_hello_type", "req.ssl_hello_type", "req.proto_http")
_COUNTER = re.compile(r"(?:sc[0-2]?|src)_(http_req_rate|conn_rate|conn_cur|sess_rate|http_req_cnt)")
_FACTS = {"ssl_fc": "tls"}
_NEAREST = "routes choose by host, path and method"


class NoCounterpartError(Exception):
    """A test, or a condition, has no counterpart. The text says what comes nearest."""


@attrs.frozen
class AclTest:
    """One test. It is about requests, or about sources, or about a counter."""

    matches: tuple[RequestMatch | str, ...] = ()
    """Requests, or facts about the listener, of which one must be true."""
    sources: tuple[str, ...] = ()
    counter: tuple[str, int] | None = None
    """A counter of the client, and the number above which the test is true."""
    users: str = ""
    """A list of users, of whom the client must be one."""
    unknown: str = ""
    """The test has no counterpart: what comes nearest."""
    note: str = ""


def read_test(words: Sequence[str], directory: Path) -> AclTest:
    """Return what a sample, flags and values mean."""
    try:
        return _read_test(words, directory)
    except NoCounterpartError as error:
        return AclTest(unknown=str(error))


def _read_test(words: Sequence[str], directory: Path) -> AclTest:
    sample = _SAMPLE.fullmatch(words[0])
    if sample is None:
        raise NoCounterpartError(_NEAREST)
    name, argument = sample["name"], (sample["arg"] or "").lower()
    flags, values = _flags_and_values(words[1:], directory)
    base, method = _base(name, flags)
    if base in _HOSTS and (argument == "host" or "sni" in base):
        return _hosts(method, values)
    if base in _PATHS:
        return _paths(method, values, ignores_case="-i" in flags)
    if base == "http_auth" and sample["arg"]:
        return AclTest(users=sample["arg"])
    if match := _COUNTER.fullmatch(name):
        return _counter(match[1], values)
    return _plain_test(base, values)


def _plain_test(base: str, values: Sequence[str]) -> AclTest:
    """Return a test without options."""
    if base in _TRUE:
        return AclTest((RequestMatch(),))
    if base in _FACTS:
        return AclTest((_FACTS[base],))
    if base == "src":
        return AclTest(sources=tuple("127.0.0.0/8" if each == "localhost" else each for each in values))
    if base == "dst_port":
        return AclTest(tuple(f"port {each}" for each in values))
    if base == "method":
        return AclTest(tuple(RequestMatch(method=each.upper()) for each in values))
    raise NoCounterpartError(_nearest(base))


def _nearest(base: str) -> str:
    if base in ("nbsrv", "be_conn", "connslots", "avg_queue", "queue", "srv_is_up"):
        return "servers with `backup = true` take over when the others are down"
    if base.startswith(("hdr", "req.hdr", "cook", "req.cook", "urlp", "url_param", "query")):
        return f"{_NEAREST}, not by other fields: give what has this field a path or a host of its own"
    return _NEAREST


def _flags_and_values(words: Sequence[str], directory: Path) -> tuple[list[str], list[str]]:
    flags: list[str] = []
    values: list[str] = []
    rest = [*words]
    while rest and rest[0].startswith("-") and rest[0] != "--":
        flag = rest.pop(0)
        if flag == "-f" and rest:
            values += values_of_file(directory / rest.pop(0))
        elif flag == "-m" and rest:
            flags.append(f"-m {rest.pop(0)}")
        else:
            flags.append(flag)
    return flags, [*values, *(rest[1:] if rest[:1] == ["--"] else rest)]


def values_of_file(path: Path) -> list[str]:
    """Return the lines of a file of values, without comments. Raises NoCounterpartError if it cannot be read."""
    try:
        return listed_values(path)
    except ValueError as error:
        raise NoCounterpartError(str(error)) from error


def _base(name: str, flags: Sequence[str]) -> tuple[str, str]:
    """Return a sample without its matching method, and the method."""
    given = next((each[3:] for each in flags if each.startswith("-m ")), "")
    base, _, suffix = name.rpartition("_")
    if base and suffix in _MATCHES:
        return base, given or suffix
    return name, given or "str"


def _hosts(method: str, values: Sequence[str]) -> AclTest:
    found: list[str] = []
    for each in (value.lower() for value in values):
        plain = each.removeprefix(".").partition(":")[0]
        if method == "str":
            found.append(plain)
        elif method == "end" and each.startswith("."):
            found.append(f"*.{plain}")
        elif method in ("end", "dom"):
            found += [plain, f"*.{plain}"]
        elif method == "reg" and (hosts := hosts_of_regex(each)) is not None:
            found += hosts
        elif method == "found":
            return AclTest((RequestMatch(),))
        else:
            raise NoCounterpartError('hosts of routes are names and wildcards, such as "*.example.com"')
    note = "a host that only ends so, without a dot before it, does not match" if method == "end" else ""
    return AclTest(tuple(RequestMatch(host=each) for each in found), note=note if len(found) > len(values) else "")


def _paths(method: str, values: Sequence[str], *, ignores_case: bool) -> AclTest:
    found: list[str] = []
    for each in values:
        if method == "str":
            found.append(f"={each}")
        elif method == "beg":
            found.append(each)
        elif method == "reg" and (paths := paths_of_pattern(each)) is not None:
            found += paths
        else:
            raise NoCounterpartError("paths of routes are prefixes by whole segments, or single paths")
    notes = ["upper and lower case matter"] if ignores_case else []
    open_ended = (path for path in found if not path.startswith("=") and not path.endswith("/"))
    notes += [f"{path} takes {path}/… here, and not {path} with more behind it" for path in open_ended]
    return AclTest(
        tuple(RequestMatch(path="" if each == "/" else each) for each in found), note="; ".join(dict.fromkeys(notes))
    )


def _counter(name: str, values: Sequence[str]) -> AclTest:
    if len(values) == 2 and values[0] in ("gt", "ge") and values[1].isdigit():
        return AclTest(counter=(name, int(values[1]) - (values[0] == "ge")))
    raise NoCounterpartError("`rate`, `rate_per_source` and `max_per_source` are limits of one client")
