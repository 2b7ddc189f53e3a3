"""What an operator has said of a server, as it stands in etcd: keys and values. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from lb.cluster.json_object import json_object
from lb.control.overrides import Override, ServerPlace
from lb.model.values import boolean, name, text, whole_number

__all__ = ["SaidOverride", "override_key", "server_of_key"]

LONGEST_SAID = 300
"""Characters of a node's name, and of a time. A guess: names of hosts have at most 253."""
_WEIGHT = whole_number(most=65_535)


@attrs.frozen
class SaidOverride:
    """The override of a server, and who said it."""

    override: Override
    node: str
    """The node to which an operator said it."""
    at: str
    """When, by the clock of that node, ISO 8601. For people only: the order is that of etcd's revisions."""

    def encoded(self) -> bytes:
        return json.dumps({**attrs.asdict(self.override), "node": self.node, "at": self.at}).encode()

    @classmethod
    def decoded(cls, content: bytes) -> SaidOverride:
        """Read what :meth:`encoded` has written. Unknown keys are ignored. Raises ValueError."""
        return cls.from_json(json_object(content))

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> SaidOverride:
        weight = read.get("weight")
        override = Override(boolean(read.get("drained")), None if weight is None else _WEIGHT(weight))
        node, at = text(read.get("node", "")), text(read.get("at", ""))
        if max(len(node), len(at)) > LONGEST_SAID:
            raise ValueError(f"node, at: has more than {LONGEST_SAID} characters")
        return cls(override, node, at)


def override_key(place: ServerPlace) -> str:
    """Return the key of a server, below the overrides of its cluster. A pool's name has no slash."""
    pool, server = place
    return f"{pool}/{server}"


def server_of_key(key: str) -> ServerPlace:
    """Return the server of a key. Raises ValueError."""
    pool, _, server = key.partition("/")
    if not server:
        raise ValueError("must be a pool and a server")
    return name(pool), server
