"""The interface of the running balancer that the admin endpoint needs."""

from __future__ import annotations

from typing import Protocol

from lb.admin.feed import Feed
from lb.announce.announcer import Announcer
from lb.cluster.cluster import Cluster
from lb.control.balancer import Balancer
from lb.events import Sink

__all__ = ["ConfigFile", "Process"]


class ConfigFile(Protocol):
    """The configuration file of the running balancer."""

    async def reload(self) -> tuple[str, ...]:
        """Reload the file; return the errors if it is rejected."""

    async def preview(self) -> tuple[str, ...]:
        """Return the changes that a reload would make, a line each. Raises ConfigError if it would be rejected."""


class Process(Protocol):
    """The running balancer."""

    balancer: Balancer
    announcer: Announcer
    cluster: Cluster
    feed: Feed
    file: ConfigFile

    @property
    def sink(self) -> Sink:
        """Receives events for the log and the feed."""
