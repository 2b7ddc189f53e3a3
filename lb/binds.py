"""Which listener listens where, and what a new configuration changes about it: names and addresses, no sockets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

from lb.address import Address
from lb.model import Config

__all__ = ["Bound", "Place", "closing", "missing", "moves"]

Bound: TypeAlias = Mapping[str, Collection[Address]]
"""The addresses that each listener listens on, by the listener's name."""
Place: TypeAlias = tuple[str, Address]
"""A listener's name, and one of its addresses."""


def moves(bound: Bound, config: Config) -> dict[Place, str]:
    """Who takes over an address that another listener gives up, sockets and all, and from which listener."""
    givers = _leaving(bound, config)
    taken: dict[Place, str] = {}
    for name, address in _wanted(bound, config):
        giver = next((place for place in givers if place[1] == address), None)
        if giver is not None:
            givers.remove(giver)
            taken[name, address] = giver[0]
    return taken


def closing(bound: Bound, config: Config) -> list[Place]:
    """What its listener gives up, and nobody takes over."""
    handed_over = {(giver, address) for (_, address), giver in moves(bound, config).items()}
    return [place for place in _leaving(bound, config) if place not in handed_over]


def missing(bound: Bound, config: Config) -> list[Place]:
    """What nobody has bound yet."""
    taken = moves(bound, config)
    return [place for place in _wanted(bound, config) if place not in taken]


def _wanted(bound: Bound, config: Config) -> list[Place]:
    """The addresses that a listener has in the new configuration only."""
    return [
        (name, address)
        for name, spec in config.listeners.items()
        for address in spec.bind
        if address not in bound.get(name, ())
    ]


def _leaving(bound: Bound, config: Config) -> list[Place]:
    """The addresses that their listener does without in the new configuration."""
    return [
        (name, address)
        for name, addresses in bound.items()
        for address in addresses
        if name not in config.listeners or address not in config.listeners[name].bind
    ]
