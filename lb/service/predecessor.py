"""The predecessor of an upgrade, as seen from the new process: inherited sockets and messages.

The counterpart is :mod:`lb.service.successor`.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

from lb.control.bindings import ADMIN
from lb.control.inherited import RuntimeState
from lb.model import Config
from lb.model.address import Address
from lb.model.binds import Place, binding_changes, binds_of
from lb.model.config import ADMIN_BACKLOG
from lb.net.activation import GivenSockets
from lb.net.privileged_files import use_opener
from lb.net.sockets import close_all
from lb.service.handover import HandoverDocument, place_as_json
from lb.service.talk import Talk, send_now

__all__ = ["HANDOVER", "Predecessor"]

HANDOVER = "LB_UPGRADE"
"""Environment variable with the descriptor of the handover document."""


class Predecessor:
    """The predecessor. It owns the inherited sockets until :meth:`take` is called."""

    def __init__(self, document: HandoverDocument) -> None:
        self.given = GivenSockets.of_descriptors(document.given)
        self.secret = document.secret
        """Empty if the predecessor's version has none."""
        self.known = RuntimeState()
        """The latest state that was requested."""
        self._channel = _inherited(document.channel)
        if document.opener is not None:
            use_opener(_inherited(document.opener))
        self._sockets = {place: [_inherited(fd) for fd in fds] for place, fds in document.sockets.items()}
        self._taken: list[Place] = []
        self._backlogs: list[tuple[socket.socket, int]] = []
        self._talk: Talk

    @classmethod
    def of_environment(cls) -> Predecessor | None:
        """Return the predecessor that started this process, if any. Raises HandoverError."""
        number = os.environ.pop(HANDOVER, "")
        if not number:
            return None
        with open(int(number), "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(0)
            return cls(HandoverDocument.from_json(file.read()))

    def take(self, config: Config) -> dict[Place, list[socket.socket]]:
        """Return the sockets that a configuration uses. Closes the others in this process."""
        bound: dict[str, list[Address]] = {}
        for name, address in self._sockets:
            bound.setdefault(name, []).append(address)
        wanted = binds_of(config) | ({ADMIN: (config.admin.bind,)} if config.admin is not None else {})
        changes = binding_changes(bound, wanted)
        givers = {place: giver for place, giver in changes.moved if place[0] != ADMIN}  # others' rights are not its own
        taken = {
            (name, address): (givers.get((name, address), name), address)
            for name, addresses in wanted.items()
            for address in addresses
            if (name, address) in givers or address in bound.get(name, ())
        }
        self._taken = [*taken.values()]
        close_all({place: self._sockets[place] for place in self._sockets.keys() - self._taken})
        for (name, _), place in taken.items():
            backlog = config.listeners[name].backlog if name in config.listeners else ADMIN_BACKLOG
            self._backlogs += ((sock, backlog) for sock in self._sockets[place])
        return {place: self._sockets[theirs] for place, theirs in taken.items()}

    def failed(self, reason: str) -> None:
        """Report that this process cannot take over."""
        with suppress(OSError):  # the predecessor is gone
            send_now(self._channel, failed=reason)

    # Methods that need trio

    def open_channel(self) -> None:
        self._talk = Talk(self._channel)

    async def runtime_state(self) -> RuntimeState:
        """Request the current state of the servers; empty if the predecessor is gone."""
        await self._talk.send(want="health")
        message = await self._talk.receive()
        self.known = RuntimeState.from_json(message) if message else RuntimeState()
        return self.known

    async def take_over(self) -> dict[str, Any]:
        """Report that this process serves, and wait until the predecessor no longer accepts clients.

        Returns what it announces, for :meth:`lb.announce.announcer.Announcer.take_over`.
        """
        for sock, backlog in self._backlogs:  # not before: the shared queue is still the predecessor's
            sock.listen(backlog)
        await self._talk.send(ready=[place_as_json(place) for place in self._taken])
        message = await self._talk.receive() or {}
        announced: dict[str, Any] = message.get("announced", {})
        return announced

    async def gone(self) -> None:
        """Wait until the predecessor has ended."""
        while await self._talk.receive() is not None:
            pass


def _inherited(fd: int) -> socket.socket:
    """Return a socket inherited through exec. Children do not inherit it."""
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    return sock
