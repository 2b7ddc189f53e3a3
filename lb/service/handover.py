"""What a process hands over to the one that takes its place, as JSON: the two may be of different versions.

A document says which descriptors the new process has inherited; then the two talk over one of them:

==========  ===========================  ==========================================================================
says        the message                  meaning
==========  ===========================  ==========================================================================
the new     ``{"want": "health"}``       asked before it prepares what to serve, and when it is about to; answered by
                                         ``{"health": …, "overrides": …}``
the new     ``{"ready": [places]}``      it serves, and these of the listeners' sockets are its own now
the new     ``{"failed": "why"}``        it cannot
the old     ``{"left": true}``           it accepts nobody any more
==========  ===========================  ==========================================================================

A later version may add keys, which are passed over; what would be misunderstood gets another ``FORMAT``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import attrs

from healthcheck.state import Memory
from lb.address import Address
from lb.binds import Place
from lb.overrides import Override, Overrides, ServerPlace

__all__ = ["Document", "HandoverError", "Knowledge", "Memories", "place_as_json", "place_from_json"]

FORMAT = 1
MEMORY_KEYS = frozenset(field.name for field in attrs.fields(Memory))

Memories: TypeAlias = Mapping[tuple[str, str], Memory]
"""What is known of servers' health, by pool and server."""


class HandoverError(Exception):
    """What was handed over cannot be understood; the text says so, in one line."""


@attrs.frozen
class Document:
    """The descriptors, by number."""

    channel: int
    sockets: Mapping[Place, Collection[int]]
    """Those of listeners."""
    given: Mapping[int, str]
    """Those that a service manager gave, with their names."""

    def as_json(self) -> bytes:
        sockets = [{**place_as_json(place), "fds": list(fds)} for place, fds in self.sockets.items()]
        given = [{"fd": fd, "name": name} for fd, name in self.given.items()]
        return json.dumps({"format": FORMAT, "channel": self.channel, "sockets": sockets, "given": given}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Document:
        """Raises HandoverError if it is of another format."""
        read = json.loads(text)
        if read["format"] != FORMAT:
            raise HandoverError(f"the running version hands over in format {read['format']}, this one knows {FORMAT}")
        return cls(
            read["channel"],
            {place_from_json(each): tuple(each["fds"]) for each in read["sockets"]},
            {each["fd"]: each["name"] for each in read["given"]},
        )


def place_as_json(place: Place) -> dict[str, str]:
    listener, address = place
    return {"listener": listener, "bind": address.text}


def place_from_json(read: Mapping[str, Any]) -> Place:
    return read["listener"], Address.parse(read["bind"])


@attrs.frozen
class Knowledge:
    """What is known of the servers, beside the configuration."""

    memories: Memories = attrs.field(factory=dict)
    overrides: Overrides = attrs.field(factory=dict)
    configured: Mapping[ServerPlace, int] = attrs.field(factory=dict)
    """The weights that the servers with overrides have in the configuration that those were said on top of."""

    def as_json(self) -> dict[str, object]:
        """An answer to the question for it."""
        overrides = [
            {"pool": pool, "server": server, "configured": self.configured.get((pool, server)), **attrs.asdict(said)}
            for (pool, server), said in self.overrides.items()
        ]
        return {"health": memories_as_json(self.memories), "overrides": overrides}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> Knowledge:
        """Of a version that knows no overrides, too."""
        overrides = {(each["pool"], each["server"]): each for each in read.get("overrides", ())}
        return cls(
            memories_from_json(read["health"]),
            {place: Override(each["drained"], each["weight"]) for place, each in overrides.items()},
            {place: each["configured"] for place, each in overrides.items() if each["configured"] is not None},
        )


def memories_as_json(memories: Memories) -> dict[str, dict[str, dict[str, object]]]:
    """By pool and server. What is as in a server that never failed is left out, so that many servers take little."""
    plain = attrs.asdict(Memory())
    told: dict[str, dict[str, dict[str, object]]] = {}
    for (pool, server), memory in memories.items():
        different = {key: value for key, value in attrs.asdict(memory).items() if value != plain[key]}
        told.setdefault(pool, {})[server] = different
    return told


def memories_from_json(read: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[tuple[str, str], Memory]:
    return {
        (pool, server): Memory(**{key: value for key, value in told.items() if key in MEMORY_KEYS})
        for pool, servers in read.items()
        for server, told in servers.items()
    }
