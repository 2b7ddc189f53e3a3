"""What a balancer has of the machine it runs on: sockets that listen, connects, probes. A rehearsal brings its own.

Here the real things. The clock is trio's, and names are looked up by trio: it has a way of its own to replace these.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import healthcheck.registry
from healthcheck.probe import Probe
from lb.address import Address
from lb.model import PluginSpec
from lb.service.given_sockets import GivenSockets
from lb.sockets import open_sockets
from lb.splicing.departures import Departures, Watch
from lb.splicing.descriptors import Descriptors
from lb.splicing.factory import make_splicer
from lb.splicing.splicer import Splicer

__all__ = ["Host"]


class Host:
    """This machine. Asked when something starts, never for a single connection."""

    def open_sockets(self, address: Address, backlog: int, given: GivenSockets) -> list[socket.socket]:
        """Listen at an address. Raises OSError."""
        return open_sockets(address, backlog, given)

    def descriptors(self, reserve: int) -> Descriptors:
        """What connections may use."""
        return Descriptors.of_process(reserve=reserve)

    def splicer(self, descriptors: Descriptors, fault: Callable[[str, Exception], None], *, dedicated: bool) -> Splicer:
        """What accepts, connects and moves the bytes."""
        return make_splicer(descriptors, fault, dedicated=dedicated)

    def departures(self, fault: Callable[[str, Exception], None]) -> Watch:
        """What notices clients that leave while they wait."""
        return Departures(fault)

    def probe(self, spec: PluginSpec) -> Probe:
        """What asks servers whether they work. Raises what a plug-in raises."""
        return healthcheck.registry.create(spec)
