"""What a source knows, as JSON, for the successor of this process, which may be of another version. No I/O.

Times are seconds from now: the clocks of two processes differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from lb.discovery.known import Known
from lb.model import ServerSpec
from lb.model.address import Address

__all__ = ["known_as_json", "known_from_json"]

_ADDRESS_DEFAULTS = {field.name: field.default for field in attrs.fields(Address)}
_SERVER_DEFAULTS = {field.name: field.default for field in attrs.fields(ServerSpec) if field.name != "address"}


def known_as_json(known: Known, now: float) -> dict[str, Any]:
    """Return the servers, and how long those stay that the last answer no longer had.

    What is wrong is left out: who goes on with it finds that again, and reports it.
    """
    return {
        "origin": known.origin,
        "for": now - known.since,
        "servers": [_server_as_json(server) for server in known.servers],
        "held": [[_server_as_json(server), end - now] for server, end in known.held.values()],
        "is_empty": known.is_empty,
        "stay_for": None if known.stay_until == math.inf else known.stay_until - now,
        "stays": known.stays,
    }


def known_from_json(read: Mapping[str, Any], now: float) -> Known:
    held = [(_server_from_json(server), now + left) for server, left in read["held"]]
    return Known(
        tuple(map(_server_from_json, read["servers"])),
        {server.name: (server, end) for server, end in held},
        origin=read["origin"],
        since=now - read["for"],
        is_empty=read["is_empty"],
        stay_until=math.inf if read["stay_for"] is None else now + read["stay_for"],
        stays=read["stays"],
    )


def _server_as_json(server: ServerSpec) -> dict[str, Any]:
    return {**_own(server, _SERVER_DEFAULTS), "address": _own(server.address, _ADDRESS_DEFAULTS)}


def _own(value: object, defaults: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields that are not as in any other, to keep the message small."""
    return {name: own for name, default in defaults.items() if (own := getattr(value, name)) != default}


def _server_from_json(read: Mapping[str, Any]) -> ServerSpec:
    address = Address(**_known_keys(read["address"], _ADDRESS_DEFAULTS))
    return ServerSpec(address=address, **_known_keys(read, _SERVER_DEFAULTS))


def _known_keys(read: Mapping[str, Any], defaults: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in read.items() if name in defaults}
