"""What a balancer inherits from its predecessor: open sockets and the runtime state of servers."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from healthcheck.state import HealthSnapshot
from lb.control.overrides import Override, Overrides, ServerPlace
from lb.net.activation import GivenSockets
from lb.net.sockets import Opened

__all__ = ["HealthSnapshots", "Inherited", "RuntimeState"]

SECRET_SIZE = 32
"""Bytes of the secret: as many as HMAC-SHA256 makes use of."""
SNAPSHOT_KEYS = frozenset(field.name for field in attrs.fields(HealthSnapshot))
HealthSnapshots: TypeAlias = Mapping[tuple[str, str], HealthSnapshot]
"""Health of servers, by pool and server."""


@attrs.frozen
class RuntimeState:
    """State of the servers that is not in the configuration: health and overrides."""

    snapshots: HealthSnapshots = attrs.field(factory=dict)
    overrides: Overrides = attrs.field(factory=dict)
    configured: Mapping[ServerPlace, int] = attrs.field(factory=dict)
    """The weights of overridden servers in the predecessor's configuration."""
    live_numbers: Mapping[str, tuple[int, int]] = attrs.field(factory=dict)
    """How far the numbers of live streams are, and how many discontinuities they have had, by stream."""
    sources: Sequence[Mapping[str, Any]] = ()
    """What is known from discovery, see :meth:`lb.discovery.watcher.Discovery.as_json`."""
    cluster: Mapping[str, Any] = attrs.field(factory=dict)
    """What the membership in a cluster is continued with, as JSON; empty without one."""

    def as_json(self) -> dict[str, object]:
        """Return the state as a message to the successor."""
        overrides = [
            {"pool": pool, "server": server, "configured": self.configured.get((pool, server)), **attrs.asdict(each)}
            for (pool, server), each in self.overrides.items()
        ]
        live = {stream: list(each) for stream, each in self.live_numbers.items()}
        health = snapshots_as_json(self.snapshots)
        told = {"health": health, "overrides": overrides, "live_numbers": live, "cluster": dict(self.cluster)}
        return {**told, "sources": list(self.sources)}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> RuntimeState:
        """Read a message. Versions without overrides, live streams, discovered servers or clusters are accepted."""
        overrides = {(each["pool"], each["server"]): each for each in read.get("overrides", ())}
        return cls(
            snapshots_from_json(read["health"]),
            {place: Override(each["drained"], each["weight"]) for place, each in overrides.items()},
            {place: each["configured"] for place, each in overrides.items() if each["configured"] is not None},
            {stream: (number, breaks) for stream, (number, breaks) in read.get("live_numbers", {}).items()},
            read.get("sources", ()),
            read.get("cluster", {}),
        )


def snapshots_as_json(snapshots: HealthSnapshots) -> dict[str, dict[str, dict[str, object]]]:
    """Return snapshots by pool and server. Default values are omitted, to keep the message small."""
    default = attrs.asdict(HealthSnapshot())
    document: dict[str, dict[str, dict[str, object]]] = {}
    for (pool, server), memory in snapshots.items():
        different = {key: value for key, value in attrs.asdict(memory).items() if value != default[key]}
        document.setdefault(pool, {})[server] = different
    return document


def snapshots_from_json(read: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[tuple[str, str], HealthSnapshot]:
    return {
        (pool, server): HealthSnapshot(**{key: value for key, value in snapshot.items() if key in SNAPSHOT_KEYS})
        for pool, servers in read.items()
        for server, snapshot in servers.items()
    }


async def _nothing() -> RuntimeState:
    return RuntimeState()


@attrs.frozen
class Inherited:
    """Sockets and state that a new balancer starts with."""

    opened: Opened = attrs.field(factory=dict)
    """Sockets of listeners, by listener and address. The balancer owns them."""
    given: GivenSockets = attrs.field(factory=GivenSockets)
    """Sockets from the service manager."""
    admin: list[socket.socket] = attrs.field(factory=list)
    """Sockets of the admin endpoint."""
    secret: bytes = attrs.field(factory=lambda: os.urandom(SECRET_SIZE), repr=False)
    """That of the predecessor, or a new one."""
    runtime_state: Callable[[], Awaitable[RuntimeState]] = _nothing
    """Called before the start is prepared, and again right before the first client is accepted."""

    @property
    def predecessor_serves(self) -> bool:
        """Another process serves until this one does."""
        return self.runtime_state is not _nothing
