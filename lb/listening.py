"""Where the balancer listens: sockets are opened, taken over or given up, and who does so is said."""

from __future__ import annotations

import socket
from collections.abc import Collection
from contextlib import ExitStack
from typing import TypeAlias

from lb.address import Address
from lb.binds import Place, closing, missing, moves
from lb.carrier import Opened
from lb.events import ListenerStarted, ListenerStopped, Sink
from lb.host import Host
from lb.model import Config
from lb.service.given_sockets import Given, socket_name
from lb.service.heritage import Heritage
from lb.service_events import SocketUnused
from lb.sockets import remove_file

__all__ = ["Bound", "Listening"]

Bound: TypeAlias = dict[str, dict[Address, list[str]]]
"""By listener and configured address: what was really bound, as text."""


class Listening:
    """What is bound by the configuration in use."""

    def __init__(self, heritage: Heritage, sink: Sink, host: Host) -> None:
        self.bound: Bound = {}
        self._sink = sink
        self._host = host
        self._given = heritage.given
        self._unused: list[Given] = []
        self._inherited = dict(heritage.opened)
        """Until listeners take them, with the first configuration."""
        self._closing: list[ListenerStopped] = []
        """To be said once nobody listens there."""

    def open(self, config: Config, undo: ExitStack) -> Opened:
        """Bind what no listener has bound yet."""
        opened: dict[Place, list[socket.socket]] = {}
        for place in missing(self.bound, config):
            name, address = place
            inherited = self._inherited.pop(place, [])
            backlog = config.listeners[name].backlog
            opened[place] = inherited or self._host.open_sockets(address, backlog, self._given)
            for sock in opened[place]:
                undo.enter_context(sock)
        return opened

    def rebind(self, config: Config, opened: Opened) -> None:
        """Bring ``bound`` up to date and say who has started."""
        taken = moves(self.bound, config)
        self._give_up(closing(self.bound, config))
        bound: Bound = {}
        for name, spec in config.listeners.items():
            bound[name] = {}
            for address in spec.bind:
                if (name, address) in opened:
                    names = [socket_name(sock) for sock in opened[name, address]]
                    for bind in names:
                        self._sink(ListenerStarted(name, bind))
                else:
                    names = self.bound[taken.get((name, address), name)][address]
                bound[name][address] = names
        self.bound = bound
        self._say_unused()

    def _say_unused(self) -> None:
        """Of what the service manager keeps open: nobody accepts who comes there."""
        bound = {bind for addresses in self.bound.values() for binds in addresses.values() for bind in binds}
        before, self._unused = self._unused, self._given.unused(bound)
        for given in self._unused:
            if given not in before:
                self._sink(SocketUnused(given.bind, given.name))

    def _give_up(self, places: Collection[Place], elsewhere: Collection[Place] = ()) -> None:
        for name, address in places:
            if (name, address) not in elsewhere and not self._given.has_file(address):
                remove_file(address)
            self._closing += (ListenerStopped(name, bind) for bind in self.bound[name][address])

    def give_up_all(self, elsewhere: Collection[Place] = ()) -> None:
        """The balancer stops; files of sockets that are ``elsewhere`` now stay."""
        self._give_up([(name, address) for name, addresses in self.bound.items() for address in addresses], elsewhere)
        self.bound = {}

    def say_closed(self) -> None:
        """Nobody listens any more where it was given up."""
        closed, self._closing = self._closing, []
        for event in closed:
            self._sink(event)
