"""What the fast splicer calls when a descriptor has become ready."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Handler", "Ignore"]


class Handler(Protocol):
    """What a file descriptor's edges go to."""

    def edge(self, mask: int) -> None: ...
    def again(self) -> None:
        """The turn that was asked for by ``EpollSplicer.later`` or ``EpollSplicer.queue``."""

    def failed(self, exception: Exception) -> None:
        """``edge`` raised: end what belongs to this handler, and only that."""


class Ignore:
    """Handles the wake-up descriptor: its edge has done its work by ending the wait."""

    def edge(self, mask: int) -> None: ...
    def again(self) -> None: ...
    def failed(self, exception: Exception) -> None: ...
