"""The addresses that this process has set on interfaces, with their local routes.

Every call blocks, see :mod:`lb.announce.rtnetlink`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_interface
from typing import Any, TypeAlias, TypeVar

import attrs

from lb.announce.rtnetlink import (
    add_address,
    add_local_route,
    addresses_on,
    check_rights,
    remove_address,
    remove_local_route,
)
from lb.model.announce import AnnounceSpec, InterfaceAddress
from lb.net.errors import describe_error

__all__ = ["AnnounceError", "InterfacePlace", "Standing", "check_interface", "places_of"]

T = TypeVar("T")

InterfacePlace: TypeAlias = tuple[str, InterfaceAddress]
"""An interface, and an address on it."""


class AnnounceError(Exception):
    """This machine, or this process, cannot have the addresses. The message is one line."""


def places_of(spec: AnnounceSpec | None) -> tuple[InterfacePlace, ...]:
    return () if spec is None else tuple((spec.interface, address) for address in spec.addresses)


def check_interface(spec: AnnounceSpec) -> None:
    """Raise AnnounceError if the interface is missing, or this process has not the right to set addresses."""
    try:
        index = socket.if_nametoindex(spec.interface)
    except OSError:
        raise AnnounceError(f"announce.interface: this machine has no interface {spec.interface!r}") from None
    try:
        check_rights(index)
    except OSError as error:
        why = "it needs CAP_NET_ADMIN" if error.errno == errno.EPERM else describe_error(error)
        raise AnnounceError(f"announce: cannot set addresses on {spec.interface!r}: {why}") from error


@attrs.define
class Standing:
    """What stands. Calls that change it block, and raise OSError; what they have done by then is kept in mind.

    The local routes let the kernel take packets for an address, also while it does not stand: a client that a router
    still sends here is served, and open connections go on. So they stay as long as the process.
    """

    places: tuple[InterfacePlace, ...] = ()
    routes: tuple[InterfaceAddress, ...] = ()

    def begin(self, spec: AnnounceSpec) -> tuple[InterfacePlace, ...]:
        """Set the routes, and remove the addresses that a process that was killed has left. Returns these."""
        self.change((), spec)
        return tuple(place for place in places_of(spec) if _remove(place))

    def look(self, spec: AnnounceSpec | None) -> None:
        """Take note of what stands, of what this process has set and of what is configured, whoever has set it.

        Routes that somebody has removed are added again: those of an interface go when it is set down.
        """
        places = dict.fromkeys((*self.places, *places_of(spec)))
        there = {interface: _addresses_of(interface) for interface, _ in places}
        self.places = tuple((interface, address) for interface, address in places if address in there[interface])
        for address in self.routes:
            add_local_route(address)

    def has(self, places: Collection[InterfacePlace], spec: AnnounceSpec | None) -> bool:
        """Return whether these places stand and no others, and all routes that the table needs."""
        return {*self.places} == {*places} and {*_addresses(spec)} <= {*self.routes}

    def change(self, places: Collection[InterfacePlace], spec: AnnounceSpec | None) -> None:
        """Have these places stand, and no others, and add routes that the table needs."""
        for address in _without(_addresses(spec), self.routes):
            add_local_route(address)
            self.routes += (address,)
        for interface, address in _without(places, self.places):  # first: no address is let go that moves
            add_address(address, socket.if_nametoindex(interface))
            self.places += ((interface, address),)
        for place in _without(self.places, places):
            _remove(place)
            self.places = tuple(each for each in self.places if each != place)

    def end(self, spec: AnnounceSpec | None) -> None:
        """Remove everything, also what somebody else has set of what is configured.

        What cannot be removed keeps nothing else from it; the first such error is raised then.
        """
        places = dict.fromkeys((*self.places, *places_of(spec)))
        errors = [error for place in places if (error := _error_of(_remove, place))]
        errors += [error for address in self.routes if (error := _error_of(remove_local_route, address))]
        if errors:
            raise errors[0]

    def as_json(self) -> dict[str, object]:
        """Return what a successor takes over."""
        places = [[interface, str(address)] for interface, address in self.places]
        return {"places": places, "routes": [str(address) for address in self.routes]}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> Standing:
        """Read that. A predecessor that cannot announce says nothing."""
        places = tuple((interface, ip_interface(address)) for interface, address in read.get("places", ()))
        return cls(places, tuple(ip_interface(address) for address in read.get("routes", ())))


def _addresses(spec: AnnounceSpec | None) -> tuple[InterfaceAddress, ...]:
    return () if spec is None else spec.addresses


def _without(some: Collection[T], others: Collection[T]) -> list[T]:
    return [each for each in some if each not in others]


def _error_of(function: Callable[[T], object], argument: T) -> OSError | None:
    try:
        function(argument)
    except OSError as error:
        return error
    return None


def _addresses_of(interface: str) -> set[InterfaceAddress]:
    try:
        index = socket.if_nametoindex(interface)
    except OSError:  # it is gone
        return set()
    return addresses_on(index)


def _remove(place: InterfacePlace) -> bool:
    """Remove an address. Returns whether it stood. Raises OSError."""
    interface, address = place
    try:
        index = socket.if_nametoindex(interface)
    except OSError:  # the interface is gone, and its addresses with it
        return False
    return remove_address(address, index)
