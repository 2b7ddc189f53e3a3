"""What became of the demo's sessions, and whether that is what a balancer promises."""

from __future__ import annotations

from collections import Counter

import attrs

__all__ = ["Ledger"]


@attrs.define
class Ledger:
    """The count of sessions that are over. Pure."""

    ok: int = 0
    cut: int = 0
    """Open to a server at the moment when it was killed, and ended by that: no balancer could have saved them."""
    failures: Counter[str] = attrs.field(factory=Counter)
    """Every other session that got an error, no answer or a wrong one, by the reason."""
    ejected: set[str] = attrs.field(factory=set)
    """Servers seen to be ejected at least once."""
    restored: set[str] = attrs.field(factory=set)
    faults: list[str] = attrs.field(factory=list)
    """Bugs that the balancer reported of itself."""

    @property
    def failed(self) -> int:
        return self.failures.total()

    def __str__(self) -> str:
        return f"sessions: {self.ok} ok, {self.failed} failed, {self.cut} cut by the kill"

    def problems(self, victim: str | None) -> list[str]:
        """Why the demo failed, a line each; empty if it did not.

        ``victim`` is the server that was killed and revived, and so must have been seen to go and to come back.
        """
        found = [f"failed: {count} x {reason}" for reason, count in self.failures.most_common()]
        found += [f"bug: {fault}" for fault in self.faults]
        if not self.ok:
            found.append("no session was served")
        if victim is not None and victim not in self.ejected:
            found.append(f"{victim} was not ejected")
        if victim is not None and victim not in self.restored:
            found.append(f"{victim} was not restored")
        return found
