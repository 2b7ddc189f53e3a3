"""Simulated clients: arrival times, source addresses and session lengths."""

from __future__ import annotations

import ipaddress
import math
import socket
from collections.abc import Callable
from random import Random

from lb.tools.rehearse.scenario import ClientsSpec
from lb.tools.rehearse.sockets import ListeningSocket, VirtualClient
from lb.tools.rehearse.virtual_clock import VirtualClock

__all__ = ["Clients"]

PORTS = (32768, 60999)
"""The ephemeral ports of Linux: ip_local_port_range, ip(7)."""
SIGMA = 1.0
"""Sigma of log-normal lengths: one in a hundred is six times the mean. An estimate of "some are much longer"."""


class Clients:
    """Clients of one kind. ``find`` returns the socket of their listener; None if there is no such listener.

    ``arrived(was_refused)`` is called for each client.
    """

    def __init__(
        self,
        spec: ClientsSpec,
        clock: VirtualClock,
        random: Random,
        find: Callable[[str], ListeningSocket | None],
        arrived: Callable[[bool], None],
    ) -> None:
        self._spec = spec
        self._clock = clock
        self._random = random
        self._find = find
        self._arrived = arrived
        network = ipaddress.ip_network(spec.sources)
        self._first = int(network.network_address)
        self._sources = network.num_addresses
        self._family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        self._bytes = network.max_prefixlen // 8
        self._length = _lengths(spec, random)

    def begin(self) -> None:
        self._clock.at(self._spec.begins + self._pause(), self._arrive)

    def _pause(self) -> float:
        """Return the seconds until the next client."""
        if self._spec.arrivals == "even":
            return 1 / self._spec.rate
        return self._random.expovariate(self._spec.rate)

    def _arrive(self) -> None:
        clock, spec = self._clock, self._spec
        if clock.now >= spec.ends:
            return
        clock.after(self._pause(), self._arrive)
        listening = self._find(spec.listener)
        self._arrived(listening is None)
        if listening is not None:
            listening.connect(VirtualClient(clock, self._length(), spec.patience), self._peer())

    def _peer(self) -> tuple[str, int]:
        """Return a random address of the network, in the form that accept returns."""
        least, most = PORTS
        random = self._random.random
        address = self._first + int(random() * self._sources)
        return socket.inet_ntop(self._family, address.to_bytes(self._bytes, "big")), least + int(
            random() * (most - least + 1)
        )


def _lengths(spec: ClientsSpec, random: Random) -> Callable[[], float]:
    """Return a generator function of session lengths with the specified mean and distribution."""
    if spec.distribution == "fixed":
        return lambda: spec.session
    if spec.distribution == "exponential":
        return lambda: random.expovariate(1 / spec.session)
    mu = math.log(spec.session) - SIGMA**2 / 2  # the mean of the distribution is exp(mu + sigma²/2)
    return lambda: random.lognormvariate(mu, SIGMA)
