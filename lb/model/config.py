"""The whole configuration, and its sections for the process, the log and the admin endpoint."""

from __future__ import annotations

from typing import Literal

import attrs

from lb.model.address import Address
from lb.model.announce import AnnounceSpec
from lb.model.cache import CacheSpec
from lb.model.cluster import ClusterSpec
from lb.model.http import UsersSpec
from lb.model.listener import ListenerSpec, ListeningSpec
from lb.model.media import MediaSpec
from lb.model.plugin import Secret
from lb.model.pool import PoolSpec

__all__ = ["AdminSpec", "Config", "LogSpec", "ProcessSpec"]

ADMIN_BACKLOG = 256
"""Backlog of the admin endpoint. It has few clients, but those without rights may have to wait there. A guess."""


@attrs.frozen
class ProcessSpec:
    workers: int | Literal["auto"] = 1
    """Number of worker processes; "auto" is one per CPU."""
    stop_delay: float = 0.0
    """Seconds between the stop signal and the end of listening, for load balancers in front to notice ``/readyz``."""
    stop_timeout: float = 30.0
    user: str = ""
    """User to switch to after binding; empty = no switch."""
    group: str = ""
    """Empty = the user's primary group."""
    watch: bool = False
    """Reload by itself when a file of the configuration has changed."""


@attrs.frozen
class LogSpec:
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    connections: bool = True


@attrs.frozen
class AdminSpec:
    """The admin endpoint: status, metrics and commands for operators."""

    bind: Address
    token: Secret | None = None
    """Required for every request except ``/healthz``; None = no authentication."""
    socket_mode: int = 0o600
    """Permissions of the file of a unix socket."""
    socket_owner: str = ""
    """Owner of the file of a unix socket: ``user``, ``user:group`` or ``:group``."""
    server_metrics: bool = True
    """``/metrics`` has series for each server."""

    @property
    def sockets(self) -> ListeningSpec:
        """The options of the listening socket."""
        return ListeningSpec(ADMIN_BACKLOG, mode=self.socket_mode, owner=self.socket_owner)


@attrs.frozen
class Config:
    """A complete and consistent configuration: every pool, cache and all users that a listener names exist."""

    listeners: dict[str, ListenerSpec] = attrs.field(factory=dict)
    pools: dict[str, PoolSpec] = attrs.field(factory=dict)
    process: ProcessSpec = ProcessSpec()
    log: LogSpec = LogSpec()
    admin: AdminSpec | None = None
    announce: AnnounceSpec | None = None
    users: dict[str, UsersSpec] = attrs.field(factory=dict)
    caches: dict[str, CacheSpec] = attrs.field(factory=dict)
    media: MediaSpec = attrs.field(factory=MediaSpec)
    cluster: ClusterSpec | None = None
    hash: str = attrs.field(default="", eq=False)
    """That of the file's bytes, without those of files that it names: :func:`lb.model.config_hash.config_hash`.

    Not compared: two files may say the same.
    """

    @property
    def written_pools(self) -> dict[str, PoolSpec]:
        """The pools without those of media: what a person has written, or discovery has found for it."""
        return {name: pool for name, pool in self.pools.items() if name not in self.media.pools}
