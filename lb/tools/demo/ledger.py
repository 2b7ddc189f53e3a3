"""Results of the demo's sessions, and the verdict on the balancer."""

from __future__ import annotations

from collections import Counter

import attrs

__all__ = ["Ledger"]


@attrs.define
class Ledger:
    """Counts of finished sessions, or of requests. No I/O."""

    ok: int = 0
    cut: int = 0
    """Sessions that the kill of their server ended. No balancer can save them; it sends requests to another server."""
    failures: Counter[str] = attrs.field(factory=Counter)
    """Other sessions with an error, no reply or a wrong reply, counted by reason."""
    ejected: set[str] = attrs.field(factory=set)
    """Servers that were ejected at least once."""
    restored: set[str] = attrs.field(factory=set)
    faults: list[str] = attrs.field(factory=list)
    """Internal errors that the balancer reported."""
    counted: str = "sessions"
    """What is counted."""
    cached: Counter[str] = attrs.field(factory=Counter)
    """Responses by what a cache did for them, in the words of the field X-Cache-Status."""

    @property
    def failed(self) -> int:
        return self.failures.total()

    def __str__(self) -> str:
        cut = f", {self.cut} cut by a kill" if self.counted == "sessions" else ""
        return f"{self.counted}: {self.ok} ok, {self.failed} failed{cut}{self.cache_text}"

    @property
    def cache_text(self) -> str:
        """What the cache did; empty without one."""
        return "".join(f", {count} {status}" for status, count in self.cached.most_common())

    def problems(self, victim: str | None) -> list[str]:
        """Return the reasons why the demo failed, a line each; empty if it succeeded.

        ``victim`` is the server that was killed and restarted: it must have been ejected and restored.
        """
        found = [f"failed: {count} x {reason}" for reason, count in self.failures.most_common()]
        found += [f"internal error: {fault}" for fault in self.faults]
        if not self.ok:
            found.append(f"no {self.counted.removesuffix('s')} was served")
        if victim is not None and victim not in self.ejected:
            found.append(f"{victim} was not ejected")
        if victim is not None and victim not in self.restored:
            found.append(f"{victim} was not restored")
        return found
