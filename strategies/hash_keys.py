"""What consistent hashing hashes: a part of the client's address, or of the request that it sends (mode ``http``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import attrgetter, methodcaller
from typing import TypeAlias

import attrs

from lb.model.address import Client
from lb.model.request import Request, RequestClient

__all__ = ["HASH_KEY_PATTERN", "HashKey", "hash_key"]

KeyOf: TypeAlias = Callable[[Client], bytes]
PartOf: TypeAlias = Callable[[Request], bytes | None]

REQUEST_PARTS: dict[str, PartOf] = {part: attrgetter(part) for part in ("uri", "path", "host")}
NAMED_PARTS = ("header", "cookie", "query")
KEYS = "'source-ip', 'source-ip-port', 'uri', 'path', 'host', 'header:NAME', 'cookie:NAME' or 'query:NAME'"
HASH_KEY_PATTERN = "^(?:source-ip|source-ip-port|uri|path|host|(?:header|cookie|query):.+)$"
"""What a key looks like, for ``lb schema``."""
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2; names of cookies as well


@attrs.frozen
class HashKey:
    """A key: ``of`` returns the bytes to hash. Clients without the part of a request are hashed by their address."""

    of: KeyOf
    part: PartOf | None = None
    """Returns the part of a request that is hashed; None for keys of the address."""
    with_port: bool = False

    def of_request(self, client: Client) -> bool:
        """True if a part of the client's request is hashed, not its address."""
        return self.part is not None and isinstance(client, RequestClient) and bool(self.part(client.request))


def hash_key(name: object) -> HashKey:
    """Return the key with this name, as configured. Raises ValueError."""
    if name == "source-ip":
        return HashKey(_source_ip)
    if name == "source-ip-port":
        return HashKey(_source_ip_port, with_port=True)
    part = _part(name) if isinstance(name, str) else None
    if part is None:
        raise ValueError(f"key must be {KEYS}, not {name!r}")
    return HashKey(_of_request(part), part)


def _part(name: str) -> PartOf | None:
    kind, colon, named = name.partition(":")
    if not colon:
        return REQUEST_PARTS.get(kind)
    if kind not in NAMED_PARTS or not named or (kind != "query" and not _TOKEN.fullmatch(named)):
        return None
    return methodcaller(kind, named.lower().encode() if kind == "header" else named.encode())


def _source_ip(client: Client) -> bytes:
    return (client.host or "unix:").encode()


def _source_ip_port(client: Client) -> bytes:
    return str(client).encode()


def _of_request(part: PartOf) -> KeyOf:
    def key_of(client: Client) -> bytes:
        if isinstance(client, RequestClient):
            value = part(client.request)
            if value:
                return value
        return _source_ip(client)

    return key_of
