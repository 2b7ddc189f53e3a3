"""The addresses of listeners, and how a new configuration changes them. Names and addresses only, no sockets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

import attrs

from lb.model.address import Address
from lb.model.config import Config

__all__ = ["BindingChanges", "Binds", "Place", "binding_changes", "binds_of"]

Binds: TypeAlias = Mapping[str, Collection[Address]]
"""The addresses of each listener, by the listener's name."""
Place: TypeAlias = tuple[str, Address]
"""A listener's name and one of its addresses."""


@attrs.frozen
class BindingChanges:
    """Changes to listening sockets. Addresses that stay with their listener are not listed."""

    opened: tuple[Place, ...] = ()
    """To bind."""
    moved: tuple[tuple[Place, str], ...] = ()
    """To take over, with their open sockets, from the named listener."""
    closed: tuple[Place, ...] = ()
    """To close."""


def binds_of(config: Config) -> dict[str, tuple[Address, ...]]:
    """Return the addresses in a configuration."""
    return {name: spec.bind for name, spec in config.listeners.items()}


def binding_changes(old: Binds, new: Binds) -> BindingChanges:
    """Return the changes from ``old`` to ``new``."""
    leaving = _missing(old, new)
    opened: list[Place] = []
    moved: list[tuple[Place, str]] = []
    for place in _missing(new, old):
        previous = next((other for other in leaving if other[1] == place[1]), None)
        if previous is None:
            opened.append(place)
        else:
            leaving.remove(previous)
            moved.append((place, previous[0]))
    return BindingChanges(tuple(opened), tuple(moved), tuple(leaving))


def _missing(binds: Binds, others: Binds) -> list[Place]:
    """Return the bindings that are not in ``others``."""
    return [
        (name, address)
        for name, addresses in binds.items()
        for address in addresses
        if address not in others.get(name, ())
    ]
