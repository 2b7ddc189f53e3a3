"""The name of this balancer, if its configuration has none: one file can then serve all nodes of a cluster."""

from __future__ import annotations

import os
import socket

__all__ = ["NODE_VARIABLE", "own_name"]

NODE_VARIABLE = "LB_NODE"


def own_name() -> tuple[str, str]:
    """Return the name, and where it comes from: ``$LB_NODE`` or ``the host's name``."""
    given = os.environ.get(NODE_VARIABLE)
    return (given, f"${NODE_VARIABLE}") if given else (socket.gethostname(), "the host's name")
