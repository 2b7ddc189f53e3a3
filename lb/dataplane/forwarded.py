"""What forward proxies were asked for: counts by protocol and result, and the targets that clients name most often."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from lb.model.top_keys import TopKeys

__all__ = ["Forwarded"]

ForwardResult: TypeAlias = tuple[str, str]
"""Protocol and result."""
REACHED = "ok"


@attrs.define
class Forwarded:
    """Of one listener."""

    results: dict[ForwardResult, int] = attrs.field(factory=dict)
    top: TopKeys = attrs.field(factory=TopKeys)
    """Targets that were asked for."""
    failed: TopKeys = attrs.field(factory=TopKeys)
    """Those among them that were not reached."""

    def note(self, protocol: str, result: str, target: bytes) -> None:
        """Count a tunnel or a request. Costs about 1 µs."""
        key = protocol, result
        self.results[key] = self.results.get(key, 0) + 1
        if target:
            self.top.note(target)
            if result != REACHED:
                self.failed.note(target)

    def add(self, other: Forwarded) -> None:
        """Add the counts of another process."""
        for key, count in other.results.items():
            self.results[key] = self.results.get(key, 0) + count
        self.top.add(other.top)
        self.failed.add(other.failed)
