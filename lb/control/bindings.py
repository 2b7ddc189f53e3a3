"""Listening sockets: open, inherit and release them, and report it."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import TypeAlias

from lb.control.inherited import Inherited
from lb.dataplane.host import Host
from lb.events import ListenerStarted, ListenerStopped, Sink
from lb.events.process import SocketUnused
from lb.model import AdminSpec, Config
from lb.model.address import Address, SocketAddress
from lb.model.binds import BindingChanges, Place
from lb.net.activation import Given, socket_name
from lb.net.errors import describe_error
from lb.net.resolver import look_up
from lb.net.sockets import ListeningSockets, Opened, open_sockets, remove_file, set_options

__all__ = ["ADMIN", "Bindings", "BoundNames", "bind_targets", "open_admin"]

BoundNames: TypeAlias = dict[str, dict[Address, list[str]]]
"""The bound addresses as text, by listener and configured address."""


class Bindings:
    """The listening sockets of the configuration in use."""

    def __init__(self, inherited: Inherited, sink: Sink, host: Host) -> None:
        self.bound: BoundNames = {}
        self.sockets = ListeningSockets()
        """Updated by the data plane."""
        self._sink = sink
        self._host = host
        self._given = inherited.given
        self._unused: list[Given] = []
        self._inherited = dict(inherited.opened)
        """Sockets that listeners take over with the first configuration."""
        self._closing: list[ListenerStopped] = []
        """Events to report once the sockets are closed."""

    async def open(self, config: Config, changes: BindingChanges, undo: ExitStack) -> Opened:
        """Open the sockets of new bindings. Raises OSError; the message names the address and the reason."""
        opened: dict[Place, list[socket.socket]] = {}
        for place in changes.opened:
            name, address = place
            inherited = self._inherited.pop(place, [])
            spec = config.listeners[name].sockets
            for sock in inherited:
                set_options(sock, spec)  # a predecessor may have had others
            targets = () if inherited else await bind_targets(address)
            opened[place] = inherited or self._host.open_sockets(address, spec, self._given, targets)
            for sock in opened[place]:
                undo.enter_context(sock)
        return opened

    def rebind(self, config: Config, changes: BindingChanges, opened: Opened) -> None:
        """Update ``bound`` and report started listeners."""
        taken = dict(changes.moved)
        self._release(changes.closed)
        bound: BoundNames = {}
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
        self._announce_unused()

    def _announce_unused(self) -> None:
        """Report sockets of the service manager that no listener uses: clients there are never accepted."""
        bound = {bind for addresses in self.bound.values() for binds in addresses.values() for bind in binds}
        before, self._unused = self._unused, self._given.unused(bound)
        for given in self._unused:
            if given not in before:
                self._sink(SocketUnused(given.bind, given.name))

    def _release(self, places: Collection[Place], elsewhere: Collection[Place] = ()) -> None:
        for name, address in places:
            if (name, address) not in elsewhere and not self._given.has_file(address):
                remove_file(address)
            self._closing += (ListenerStopped(name, bind) for bind in self.bound[name][address])

    def release_all(self, elsewhere: Collection[Place] = ()) -> None:
        """Release all bindings for a stop. Socket files of a successor (``elsewhere``) stay."""
        self._release([(name, address) for name, addresses in self.bound.items() for address in addresses], elsewhere)
        self.bound = {}

    def announce_closed(self) -> None:
        """Report the bindings released since the last call as stopped."""
        closed, self._closing = self._closing, []
        for event in closed:
            self._sink(event)


async def bind_targets(address: Address) -> tuple[SocketAddress, ...]:
    """Look up the host name of an address to listen on; nothing without one.

    Raises OSError; the message names the address and the reason.
    """
    if not address.is_name:
        return ()
    try:
        return await look_up(address)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {describe_error(error)}") from error


ADMIN = "/admin"
"""The admin endpoint's name among the listeners, whose names contain no slash."""


def open_admin(spec: AdminSpec, targets: Sequence[SocketAddress] = ()) -> list[socket.socket]:
    """Bind the admin endpoint and listen. ``targets`` as for :func:`open_sockets`.

    Raises OSError; the message names the address and the reason.
    """
    return open_sockets(spec.bind, spec.sockets, targets=targets)
