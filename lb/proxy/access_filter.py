"""Access lists of a listener (``allow``, ``deny``) and its limits per source: open connections and connection rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import attrs

from lb.events import Reason
from lb.model import ListenerSpec
from lb.model.address import IPAddress, address_of
from lb.proxy.downstream import Downstream
from lb.proxy.filters import FilterFailed
from lb.proxy.source_limits import SourceLimits

__all__ = ["AccessFilter", "AccessOnly"]


@attrs.frozen
class AccessFilter:
    """Admits clients by address and by the limits of their source. Implements :class:`lb.proxy.filters.Filter`."""

    spec: ListenerSpec
    sources: SourceLimits
    clock: Callable[[], float] = time.monotonic
    """A clock in seconds that all processes share."""

    @property
    def reason(self) -> Reason:
        return "denied"

    def begin(self, downstream: Downstream) -> None:
        if not self.admits(downstream):
            raise FilterFailed

    def admits(self, downstream: Downstream) -> bool:
        """Return whether the client is admitted. If so, it counts for its source until the connection ends."""
        spec = self.spec
        address = address_of(downstream.client.host)
        if not spec.admits(address):
            return False
        return address is None or self._within_limits(downstream, address)

    def _within_limits(self, downstream: Downstream, address: IPAddress) -> bool:
        """Return whether the source may open one more connection now. If so, count it until the connection ends."""
        spec, sources = self.spec, self.sources
        if not (spec.max_per_source or spec.rate_per_source):
            return True
        cells = sources.cells(spec.name, address)
        if not sources.enter(cells, spec.max_per_source):
            return False
        if spec.rate_per_source and not sources.within_rate(cells, spec.rate_per_source, self.clock()):
            sources.leave(cells)
            return False
        downstream.on_close(partial(sources.leave, cells))
        return True


@attrs.frozen
class AccessOnly:
    """The admission of a listener that has no other filter. Implements :class:`lb.proxy.filters.Admission`."""

    access: AccessFilter

    def begin(self, downstream: Downstream) -> None:
        if self.access.admits(downstream):
            downstream.start()
        else:
            downstream.refuse("lb", self.access.reason)
