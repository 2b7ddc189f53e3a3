"""Imagined clients: when they come, from where, and for how long."""

from __future__ import annotations

import ipaddress
import math
import socket
from collections.abc import Callable
from random import Random

from lb.rehearse.agenda import Agenda
from lb.rehearse.scenario import ClientsSpec
from lb.rehearse.sockets import ListeningSocket, VirtualClient

__all__ = ["Clients"]

PORTS = (32768, 60999)
"""Those that Linux lets clients have: ip_local_port_range, ip(7)."""
SIGMA = 1.0
"""Of log-normal lengths: one in a hundred is six times the mean. A guess at "some are much longer"."""


class Clients:
    """Clients of one kind, who come to where ``find`` says that their listener is; None if it is nowhere.

    ``arrived(was_refused)`` hears of each.
    """

    def __init__(
        self,
        spec: ClientsSpec,
        agenda: Agenda,
        random: Random,
        find: Callable[[str], ListeningSocket | None],
        arrived: Callable[[bool], None],
    ) -> None:
        self._spec = spec
        self._agenda = agenda
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
        self._agenda.at(self._spec.begins + self._pause(), self._arrive)

    def _pause(self) -> float:
        """Until the next one."""
        if self._spec.arrivals == "even":
            return 1 / self._spec.rate
        return self._random.expovariate(self._spec.rate)

    def _arrive(self) -> None:
        agenda, spec = self._agenda, self._spec
        if agenda.now >= spec.ends:
            return
        agenda.after(self._pause(), self._arrive)
        listening = self._find(spec.listener)
        self._arrived(listening is None)
        if listening is not None:
            listening.connect(VirtualClient(agenda, self._length(), spec.patience), self._peer())

    def _peer(self) -> tuple[str, int]:
        """Some address of the network, as accept would say it."""
        least, most = PORTS
        random = self._random.random
        address = self._first + int(random() * self._sources)
        return socket.inet_ntop(self._family, address.to_bytes(self._bytes, "big")), least + int(
            random() * (most - least + 1)
        )


def _lengths(spec: ClientsSpec, random: Random) -> Callable[[], float]:
    """A source of lengths with the mean and the distribution wanted."""
    if spec.distribution == "fixed":
        return lambda: spec.session
    if spec.distribution == "exponential":
        return lambda: random.expovariate(1 / spec.session)
    mu = math.log(spec.session) - SIGMA**2 / 2  # so that the mean, exp(mu + sigma²/2), is right
    return lambda: random.lognormvariate(mu, SIGMA)
