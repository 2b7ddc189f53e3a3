"""Listening sockets that the supervisor keeps for its workers, by whose they are and where they listen."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from lb.address import Address
from lb.binds import Place, closing, moves
from lb.carrier import Opened
from lb.model import Config

__all__ = ["KeptSockets"]


class KeptSockets:
    """Follows the configuration, as each worker does with its own copies."""

    def __init__(self) -> None:
        self.by_place: dict[Place, list[socket.socket]] = {}

    def change(self, config: Config, opened: Opened) -> None:
        """Close what is given up, hand over what moves, take what is new."""
        bound: dict[str, list[Address]] = {}
        for name, address in self.by_place:
            bound.setdefault(name, []).append(address)
        for place in closing(bound, config):
            _close(self.by_place.pop(place))
        taken = moves(bound, config)
        moved = [self.by_place.pop((giver, address)) for (_, address), giver in taken.items()]
        self.by_place |= zip(taken, moved, strict=True)
        self.by_place |= opened

    def close(self) -> None:
        for sockets in self.by_place.values():
            _close(sockets)
        self.by_place = {}


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
