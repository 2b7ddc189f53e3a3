"""Simulated clients: arrival times, source addresses, session lengths, and further sessions of the same client."""

from __future__ import annotations

import ipaddress
import math
import socket
from collections.abc import Callable
from functools import partial
from random import Random

from lb.tools.rehearse.scenario import ClientsSpec
from lb.tools.rehearse.sockets import VirtualClient
from lb.tools.rehearse.virtual_clock import VirtualClock

__all__ = ["Clients"]

PORTS = (32768, 60999)
"""The ephemeral ports of Linux: ip_local_port_range, ip(7)."""
SIGMA = 1.0
"""Sigma of log-normal lengths: one in a hundred is six times the mean. An estimate of "some are much longer"."""


class Clients:
    """Clients of one kind. ``connect(listener, client, peer)`` is called for each session."""

    def __init__(
        self,
        spec: ClientsSpec,
        clock: VirtualClock,
        random: Random,
        connect: Callable[[str, VirtualClient, tuple[str, int]], None],
    ) -> None:
        self._spec = spec
        self._clock = clock
        self._random = random
        self._connect = connect
        network = ipaddress.ip_network(spec.sources)
        self._first = int(network.network_address)
        self._sources = network.num_addresses
        self._family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        self._bytes = network.max_prefixlen // 8
        self._length = _lengths(spec.session, spec.distribution, random)
        self._thinking = _lengths(spec.pause, spec.distribution, random)

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
        self._begin_session(None)

    def _begin_session(self, peer: tuple[str, int] | None) -> None:
        """Begin a session of a new client, or a further one of a client at ``peer``."""
        spec, length, peer = self._spec, self._length(), peer or self._peer()
        client = VirtualClient(self._clock, length, spec.patience, partial(self._served, peer))
        self._connect(spec.listener, client, peer)

    def _served(self, peer: tuple[str, int]) -> None:
        """A session was served to its end: its client may have further ones, in geometric distribution."""
        requests = self._spec.requests
        if requests > 1 and self._random.random() >= 1 / requests:
            self._clock.after(self._thinking(), partial(self._begin_session, peer))

    def _peer(self) -> tuple[str, int]:
        """Return a random address of the network, in the form that accept returns."""
        least, most = PORTS
        random = self._random.random
        address = self._first + int(random() * self._sources)
        return socket.inet_ntop(self._family, address.to_bytes(self._bytes, "big")), least + int(
            random() * (most - least + 1)
        )


def _lengths(mean: float, distribution: str, random: Random) -> Callable[[], float]:
    """Return a generator function of lengths with the specified mean and distribution."""
    if distribution == "fixed":
        return lambda: mean
    if distribution == "exponential":
        return lambda: random.expovariate(1 / mean)
    mu = math.log(mean) - SIGMA**2 / 2  # the mean of the distribution is exp(mu + sigma²/2)
    return lambda: random.lognormvariate(mu, SIGMA)
