"""What the admin endpoint needs of the command that it belongs to."""

from __future__ import annotations

from typing import Protocol

from lb.admin.feed import Feed
from lb.events import Sink
from lb.server import Balancer

__all__ = ["ConfigFile", "Process"]


class ConfigFile(Protocol):
    """The configuration file of the running command."""

    async def reload(self) -> tuple[str, ...]:
        """Read it again and change to it; returns why not, if not."""

    async def preview(self) -> tuple[str, ...]:
        """What a reload would change, a line each. Raises ConfigError if it would be rejected."""


class Process(Protocol):
    """The running command."""

    balancer: Balancer
    feed: Feed
    file: ConfigFile

    @property
    def say(self) -> Sink:
        """For the log and the feed."""
