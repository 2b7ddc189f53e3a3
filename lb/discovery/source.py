"""What a discovery source is: DNS, a file, or another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, Protocol

from lb.model import ServerSpec

__all__ = ["Found", "Source"]


class Found(Protocol):
    """Receives what a look-up has found."""

    def __call__(
        self, servers: tuple[ServerSpec, ...], errors: tuple[str, ...], *, hold: float = 0.0, more: bool = False
    ) -> None:
        """Take the servers and the errors of one look-up.

        A server that is missing from now on drains for ``hold`` seconds. ``more``: this look-up is not over; it has
        servers already, and will report again.
        """


class Source(Protocol):
    """A place where servers are discovered. Compared by value: a reload keeps watching an equal source."""

    async def watch(self, found: Found, fault: Callable[[Exception], None]) -> NoReturn:
        """Look up the servers for ever, and pass on what each look-up found; ``fault`` receives bugs."""

    def read(self) -> tuple[tuple[ServerSpec, ...], tuple[str, ...]] | None:
        """Return servers and errors at once, for commands; None if that takes a network."""
