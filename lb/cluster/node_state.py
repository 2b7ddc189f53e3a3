"""What the nodes of a cluster tell each other about themselves. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs

from lb.cluster.json_object import json_object

__all__ = ["NodeNameError", "NodeState", "what_differs"]


LONGEST_OF_NODE = 200
"""Characters of what a node says of itself. A guess: its own are below 50, and all of them are shown in lists."""


class NodeNameError(Exception):
    """Another balancer has this node's name. The text is one line."""


@attrs.frozen
class NodeState:
    """A node, as it says itself."""

    ready: bool
    """Its ``/readyz`` is 200."""
    version: str
    config: str
    """The hash of the configuration that it has applied last."""
    started: str
    """When its process started, ISO 8601. For people only: clocks of nodes may differ."""

    def encoded(self) -> bytes:
        return json.dumps(attrs.asdict(self)).encode()

    @classmethod
    def decoded(cls, content: bytes) -> NodeState:
        """Read what :meth:`encoded` has written. Unknown keys are ignored. Raises ValueError."""
        read = json_object(content)
        ready, texts = read.get("ready"), {key: read.get(key) for key in ("version", "config", "started")}
        wrong = [key for key, text in texts.items() if not isinstance(text, str)]
        if wrong or not isinstance(ready, bool):
            raise ValueError(f"{(wrong or ['ready'])[0]}: missing, or of another type")
        if long := [key for key, text in texts.items() if len(str(text)) > LONGEST_OF_NODE]:
            raise ValueError(f"{long[0]}: has more than {LONGEST_OF_NODE} characters")
        return cls(ready=ready, **{key: str(text) for key, text in texts.items()})


def what_differs(nodes: Mapping[str, NodeState]) -> list[str]:
    """Return which of ``version``, ``config`` and ``ready`` is not alike on all nodes."""
    return [key for key in ("version", "config", "ready") if len({getattr(node, key) for node in nodes.values()}) > 1]
