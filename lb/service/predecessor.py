"""The process whose place this one takes, as this one sees it: what it hands over, and what it has to be told.

The other side is :mod:`lb.service.successor`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import suppress

from lb.address import Address
from lb.admin.sockets import ADMIN, BACKLOG
from lb.binds import Place, moves
from lb.model import Config
from lb.service.given_sockets import GivenSockets
from lb.service.handover import Document, Knowledge, place_as_json
from lb.service.talk import Talk, say_now

__all__ = ["HANDOVER", "Predecessor"]

HANDOVER = "LB_UPGRADE"
"""The environment variable that holds the number of a descriptor, where the document is."""


class Predecessor:
    """Until :meth:`take` has been asked, the sockets are nobody's."""

    def __init__(self, document: Document) -> None:
        self.given = GivenSockets.of_descriptors(document.given)
        self._channel = _inherited(document.channel)
        self._sockets = {place: [_inherited(fd) for fd in fds] for place, fds in document.sockets.items()}
        self._taken: list[Place] = []
        self._backlogs: list[tuple[socket.socket, int]] = []
        self._talk: Talk

    @classmethod
    def of_environment(cls) -> Predecessor | None:
        """The one that started this process, if one did. Raises HandoverError."""
        number = os.environ.pop(HANDOVER, "")
        if not number:
            return None
        with open(int(number), "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(0)
            return cls(Document.from_json(file.read()))

    def take(self, config: Config) -> dict[Place, list[socket.socket]]:
        """The sockets that a configuration has a use for; the others are closed, here."""
        admin = (ADMIN, config.admin.bind) if config.admin is not None else None
        bound: dict[str, list[Address]] = {}
        for name, address in self._sockets:
            bound.setdefault(name, []).append(address)
        taken = {
            (name, address): (name, address)
            for name, address in self._sockets
            if (name in config.listeners and address in config.listeners[name].bind) or (name, address) == admin
        }
        taken |= {(name, address): (giver, address) for (name, address), giver in moves(bound, config).items()}
        self._taken = [*taken.values()]
        for place in self._sockets.keys() - self._taken:
            _close(self._sockets[place])
        for (name, _), place in taken.items():
            backlog = config.listeners[name].backlog if name in config.listeners else BACKLOG
            self._backlogs += ((sock, backlog) for sock in self._sockets[place])
        return {place: self._sockets[theirs] for place, theirs in taken.items()}

    def failed(self, reason: str) -> None:
        """This process cannot take its place."""
        with suppress(OSError):  # it is gone, and nobody is left to tell
            say_now(self._channel, failed=reason)

    # Within trio

    def open_talk(self) -> None:
        self._talk = Talk(self._channel)

    async def knowledge(self) -> Knowledge:
        """What it knows of the servers now; nothing if it is gone."""
        await self._talk.say(want="health")
        message = await self._talk.hear()
        return Knowledge.from_json(message) if message else Knowledge()

    async def make_way(self) -> None:
        """Tell it that this process serves; returns when it accepts nobody any more."""
        for sock, backlog in self._backlogs:  # not before: they are one queue, and its own as long as this may fail
            sock.listen(backlog)
        await self._talk.say(ready=[place_as_json(place) for place in self._taken])
        await self._talk.hear()

    async def gone(self) -> None:
        """Return when it has ended."""
        while await self._talk.hear() is not None:
            pass


def _inherited(fd: int) -> socket.socket:
    """A socket that came through exec; it goes no further."""
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    return sock


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
