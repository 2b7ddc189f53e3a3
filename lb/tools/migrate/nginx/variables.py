"""nginx's variables, and those of lb.toml in their place. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["IN_REQUESTS", "IN_RESPONSES", "condition", "filled", "hash_key_of", "key_text", "simplified"]

_ASKED_FOR: Mapping[str, str] = {
    "scheme": "{scheme}",
    "host": "{host}",
    "http_host": "{host}",
    "request_uri": "{uri}",
    "uri": "{path}",
    "document_uri": "{path}",
    "args": "{query}",
    "query_string": "{query}",
    "request_method": "{method}",
}
"""What is the same in two requests for the same."""
IN_REQUESTS: Mapping[str, str] = {
    **_ASKED_FOR,
    "remote_addr": "{client_ip}",
    "realip_remote_addr": "{client_ip}",
    "request_id": "{request_id}",
}
"""For values of fields, and for redirects."""
IN_RESPONSES: Mapping[str, str] = {
    **IN_REQUESTS,
    "upstream_addr": "{server}",
    "upstream_cache_status": "{cache_status}",
}
_IN_KEYS: Mapping[str, str] = {**_ASKED_FOR, "is_args": "", "slice_range": ""}
_HASHED: Mapping[str, str] = {
    "remote_addr": "source-ip",
    "binary_remote_addr": "source-ip",
    "remote_addr$remote_port": "source-ip-port",
    "remote_addr:$remote_port": "source-ip-port",
    "binary_remote_addr$remote_port": "source-ip-port",
    "request_uri": "uri",
    "host$request_uri": "uri",
    "scheme$proxy_host$request_uri": "uri",
    "uri": "path",
    "host": "host",
    "http_host": "host",
}
_NAMED = re.compile(r"(cookie|http|arg)_([a-z0-9_]+)", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{?([a-z_][a-z0-9_]*)\}?", re.IGNORECASE)


def simplified(text: str) -> str:
    """Return a text with one variable for those that together are the request's path and query."""
    return re.sub(r"\$\{?uri\}?\$\{?is_args\}?\$\{?(args|query_string)\}?", "$request_uri", text)


def filled(text: str, values: Mapping[str, str]) -> str | None:
    """Return a text with values in place of nginx's variables; None if one has none."""
    if any(match[1] not in values for match in _VARIABLE.finditer(text)):
        return None
    return _VARIABLE.sub(lambda match: values[match[1]], text)


def _field(name: str) -> str:
    """Return a field's name as it is usually written: ``x_user_id`` is ``X-User-Id``."""
    return "-".join(each.capitalize() for each in name.split("_"))


def key_text(text: str, constants: Mapping[str, str]) -> str | None:
    """Return a key of the cache with ``{…}`` for nginx's variables; None if one has no counterpart."""
    known: dict[str, str] = {**_IN_KEYS, **constants}
    for match in _VARIABLE.finditer(text):
        named = _NAMED.fullmatch(match[1])
        if match[1] not in known and named:
            known[match[1]] = {
                "cookie": f"{{cookie:{named[2]}}}",
                "http": f"{{header:{_field(named[2])}}}",
                "arg": f"{{argument:{named[2]}}}",
            }[named[1].lower()]
    return filled(simplified(text), known)


def condition(text: str) -> str | None:
    """Return a condition of the cache, ``cookie:NAME``; None if it has no counterpart."""
    named = _NAMED.fullmatch(text.lstrip("$").strip("{}"))
    if not (named and text.startswith("$")):
        return None
    kind = {"cookie": "cookie", "http": "header", "arg": "query"}[named[1].lower()]
    return f"{kind}:{_field(named[2]) if kind == 'header' else named[2]}"


def hash_key_of(text: str) -> str | None:
    """Return the ``key`` of consistent-hash; None if it has no counterpart."""
    name = text.replace("{", "").replace("}", "").removeprefix("$")
    return _HASHED.get(name) or condition(text)
