"""The interface of a balancer to its machine: listening sockets, connects, probes. `lb rehearse` replaces it.

The clock and name look-ups are not part of it: they are replaced in trio and in :mod:`lb.net.resolver`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

import healthcheck.registry
from healthcheck.probe import Probe
from lb.model import PluginSpec
from lb.model.address import Address, SocketAddress
from lb.model.listener import ListeningSpec
from lb.net.activation import GivenSockets
from lb.net.descriptors import Descriptors
from lb.net.disconnects import Disconnects, Watch
from lb.net.sockets import open_sockets
from lb.relay.factory import make_splicer
from lb.relay.splicer import Splicer

__all__ = ["Host"]


class Host:
    """The real machine. Called when something starts, never per connection."""

    def open_sockets(
        self, address: Address, spec: ListeningSpec, given: GivenSockets, targets: Sequence[SocketAddress]
    ) -> list[socket.socket]:
        """Open listening sockets for an address; ``targets`` are those of its host name, if it has one.

        Raises OSError.
        """
        return open_sockets(address, spec, given, targets)

    def descriptors(self, reserve: int) -> Descriptors:
        """Return the descriptor budget of connections."""
        return Descriptors.of_process(reserve=reserve)

    def splicer(self, descriptors: Descriptors, fault: Callable[[str, Exception], None], *, dedicated: bool) -> Splicer:
        """Return the splicer, which accepts, connects and relays."""
        return make_splicer(descriptors, fault, dedicated=dedicated)

    def disconnects(self, fault: Callable[[str, Exception], None]) -> Watch:
        """Return the detector of clients that disconnect while they wait."""
        return Disconnects(fault)

    def probe(self, spec: PluginSpec) -> Probe:
        """Construct a probe. Raises any exception of a plug-in's constructor."""
        return healthcheck.registry.create(spec)
