"""Readers for single values of a route."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from lb.http1.grammar import TOKEN_BYTES, MalformedError, is_host
from lb.http1.target import routing_path, split_absolute
from lb.model.http import Rate
from lb.model.shape import IPV6_PATTERN, shape_of, shaped, whole
from lb.model.values import Reader, file_name, shown, text
from lb.net.files import read_file

__all__ = [
    "host_header",
    "host_name",
    "method_name",
    "path_and_kind",
    "prefix_added",
    "prefix_stripped",
    "request_rate",
    "route_name",
    "secret_bytes",
    "url",
]

_HOST = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_LONGEST_HOST = 253
_LONGEST_NAME = 200
"""A route's name is in each line of the log and is a label of metrics."""
_RATE = re.compile(r"([1-9][0-9]{0,8})/([smh])")
_PERIODS = {"s": 1, "m": 60, "h": 3600}
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_URL_PATH = re.compile(r"(?:/(?:[!$&-;=@-Z_a-z~]|%[0-9A-Fa-f]{2})*)?")
_LAST_PORT = 65_535


@shaped({"type": "string", "pattern": r"^[^\x00-\x1f\x7f]+$", "maxLength": _LONGEST_NAME})
def route_name(value: object) -> str:
    """A name for logs and metrics."""
    found = text(value)
    if not found or len(found) > _LONGEST_NAME or not found.isprintable():
        raise ValueError(f"a name has 1 to {_LONGEST_NAME} printable characters, not {shown(found)}")
    return found


@shaped({"type": "string", "pattern": whole(rf"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[{IPV6_PATTERN}\]")})
def host_name(value: object) -> str:
    """A host name or address without a port, or a wildcard like ``*.example.com``. Returned in lower case."""
    given = text(value)
    name = given.lower().removesuffix(".")
    if given == "*":
        raise ValueError("leave it out for any host, or name a wildcard like '*.example.com'")
    if not given.isascii():
        raise ValueError(f"must be the name in its ASCII form ('xn--…'), as clients send it, not {shown(given)}")
    if not (_HOST.fullmatch(name) or _is_ipv6(name)) or len(name) > _LONGEST_HOST:
        raise ValueError(
            f"must be a host like 'www.example.com' or '*.example.com', without a port, not {shown(given)}"
        )
    return name


def _is_ipv6(name: str) -> bool:
    try:
        return name[:1] + name[-1:] == "[]" and bool(ipaddress.IPv6Address(name[1:-1]))
    except ValueError:
        return False


@shaped({"type": "string", "pattern": r"^=?/[^?]*$", "not": {"pattern": rf"{_ESCAPE.pattern}|^/(?:.*/)?\*$"}})
def path_and_kind(value: object) -> tuple[str, bool]:
    """A path, and whether it is exact (``=/a``) or a prefix."""
    given = text(value)
    exact = given.startswith("=")
    path = given[exact:]
    if not exact and path.endswith("/*"):
        raise ValueError(f"is a prefix already, write {shown(path[:-1])}, not {shown(given)}")
    return _decoded_path(path), exact


def _decoded_path(path: str) -> str:
    """Check a path as it is compared with those of requests, which are decoded before."""
    if not path.startswith("/"):
        raise ValueError(f"must begin with '/', not {shown(path)}")
    if "?" in path or not path.isprintable():
        raise ValueError(f"must be a path without a query and control characters, not {shown(path)}")
    if _ESCAPE.search(path):
        raise ValueError(f"must be written decoded, as paths of requests are decoded, not {shown(path)}")
    try:
        reached = routing_path(path.replace("%", "%25").encode()).decode()
    except MalformedError as error:
        raise ValueError(f"never matches, {error}: {shown(path)}") from error
    if reached != path:
        raise ValueError(f"never matches, as paths of requests are made simple, did you mean {shown(reached)}?")
    return path


@shaped({"type": "string", "pattern": r"^[!#$%&'*+.^_`|~0-9A-Z-]+$", "not": {"const": "CONNECT"}})
def method_name(value: object) -> str:
    """A method, as in requests."""
    method = text(value)
    if not method or method.encode().translate(None, TOKEN_BYTES):
        raise ValueError(f"must be a method like 'GET', not {shown(method)}")
    if method != method.upper():
        raise ValueError(f"methods are case-sensitive, did you mean {shown(method.upper())}?")
    if method == "CONNECT":
        raise ValueError("'CONNECT' is refused in this mode, whatever the route")
    return method


@shaped({"type": "string", "pattern": r"^(?:/[^?]*)?$", "not": {"pattern": _ESCAPE.pattern}})
def prefix_stripped(value: object) -> str:
    """A prefix that is taken off a path: whole segments, without a slash at the end. Empty = none."""
    given = text(value)
    return _decoded_path(given).rstrip("/") if given else ""


@shaped({"type": "string", "pattern": whole(_URL_PATH.pattern)})
def prefix_added(value: object) -> str:
    """A prefix that is put before a path, as a server gets it, without a slash at the end. Empty = none."""
    given = text(value)
    if not _URL_PATH.fullmatch(given):
        raise ValueError(f"must be a path of a URL like '/app', not {shown(given)}")
    return given.rstrip("/")


@shaped({"type": "string", "minLength": 1})
def host_header(value: object) -> str:
    """What a server sees as Host: ``client``, ``server`` or a host."""
    given = text(value)
    if not is_host(given.encode()):
        raise ValueError(f"must be 'client', 'server' or a host, not {shown(given)}")
    return given


@shaped({"type": "string", "pattern": r"^(?:https?://[!-~]+)?$"})
def url(value: object) -> str:
    """A URL of http or https; empty = none."""
    given = text(value)
    if not given:
        return ""
    try:
        host, _ = split_absolute(given.encode())
        port = re.search(rb":([0-9]+)$", host)
        good = port is None or 0 < int(port[1]) <= _LAST_PORT
    except MalformedError:
        good = False
    if not (good and given.isascii() and given.isprintable() and " " not in given):
        raise ValueError(f"must be a URL like 'http://127.0.0.1:9091/verify', not {shown(given)}")
    return given


def secret_bytes(directory: Path) -> Reader[bytes]:
    """Return a reader for the name of a file with a secret: its bytes, without the last newline. Empty = no file."""

    @shaped(shape_of(text))
    def read(value: object) -> bytes:
        if value == "":
            return b""
        path = file_name(value)
        try:
            found = read_file(directory / path).removesuffix(b"\n")
        except OSError as error:
            raise ValueError(f"{shown(path)} cannot be read: {(error.strerror or str(error)).lower()}") from error
        if not found:
            raise ValueError(f"{shown(path)} is empty")
        return found

    return read


@shaped({"anyOf": [{"const": 0}, {"type": "string", "pattern": whole(f"0|{_RATE.pattern}")}]})
def request_rate(value: object) -> Rate:
    """A number of requests and a unit of time, such as ``20/s``; 0 = no limit."""
    if value == "0" or (value == 0 and not isinstance(value, bool | float)):
        return Rate(0)
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"must be a number of requests and a unit of time, like '20/s', '100/m' or '500/h', not {shown(value)}"
        )
    return Rate(int(match[1]) / _PERIODS[match[2]])
