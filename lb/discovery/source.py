"""What a discovery source is: DNS, a file, etcd, Kubernetes, or another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from lb.model import ServerSpec

__all__ = ["Findings", "Source"]


class Findings(Protocol):
    """Receives what a source finds."""

    @property
    def handed(self) -> Any:  # noqa: ANN401 - each source has its own
        """What the last watch of the source has kept, here or in a predecessor; None if there was none.

        Read it before :meth:`keep`.
        """

    def keep(self, memory: Callable[[], object]) -> None:
        """Have ``memory`` return what the next watch is handed: JSON, as that may be in another process."""

    def found(
        self,
        servers: tuple[ServerSpec, ...] | None,
        errors: tuple[str, ...],
        *,
        hold: float = 0.0,
        hold_all: float = 0.0,
        more: bool = False,
    ) -> None:
        """Take the servers and the errors of one look-up. None: it failed, and says nothing of servers.

        A server that is missing from now on drains for ``hold`` seconds. If all are missing, they stay in traffic for
        ``hold_all`` seconds. ``more``: this look-up is not over; it has servers already, and will report again.
        """

    def remembered(self, servers: tuple[ServerSpec, ...]) -> None:
        """Take servers that a file remembers, until the first look-up finds some."""

    def file_failed(self, error: str) -> None:
        """That file cannot be read or written; empty: it can again."""

    def fault(self, exception: Exception) -> None:
        """Take a bug of a library."""


class Source(Protocol):
    """A place where servers are discovered. Compared by value: a reload keeps watching an equal source."""

    @property
    def where(self) -> str:
        """Where servers are missing: ``no server {where}``."""

    @property
    def asked(self) -> str:
        """Whom to blame for a late first answer; empty: there are several."""

    async def watch(self, findings: Findings) -> NoReturn:
        """Look up the servers for ever, and pass on what each look-up found."""

    def read(self) -> tuple[tuple[ServerSpec, ...], tuple[str, ...]] | None:
        """Return servers and errors at once, for commands; None if that takes a network."""
