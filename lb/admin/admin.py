"""The admin endpoint of a running command: it follows the configuration, as listeners do."""

from __future__ import annotations

import socket

import trio

from lb.address import Address
from lb.admin.api import ConfigFile
from lb.admin.endpoint import open_admin, serve_admin
from lb.admin.feed import Feed
from lb.events import AdminStarted, Sink
from lb.model import AdminSpec
from lb.server import Balancer
from lb.sockets import remove_file, socket_name

__all__ = ["Admin"]


class Admin:
    """Implements :class:`lb.admin.api.Process`. Serves in a nursery of the caller's."""

    def __init__(self, balancer: Balancer, say: Sink, file: ConfigFile, nursery: trio.Nursery) -> None:
        self.balancer = balancer
        self.feed = Feed()
        self.say = say
        self.file = file
        self._nursery = nursery
        self._bind: Address | None = None
        self._scope = trio.CancelScope()

    def open(self, spec: AdminSpec | None) -> list[socket.socket]:
        """Bind what this needs and is not bound yet. Raises OSError whose text says what could not be bound."""
        return open_admin(spec.bind) if spec is not None and spec.bind != self._bind else []

    def follow(self, spec: AdminSpec | None, opened: list[socket.socket]) -> None:
        """Serve there from now on, on what :meth:`open` gave, and nowhere else."""
        bind = spec.bind if spec is not None else None
        if bind == self._bind:
            return
        self._scope.cancel()
        if self._bind is not None:
            remove_file(self._bind)
        self._bind = bind
        if opened:
            self._scope = trio.CancelScope()
            for sock in opened:
                self.say(AdminStarted(socket_name(sock)))
            self._nursery.start_soon(self._serve, opened, self._scope)

    async def _serve(self, sockets: list[socket.socket], scope: trio.CancelScope) -> None:
        try:
            with scope:
                await serve_admin(sockets, self)
        finally:
            for sock in sockets:
                sock.close()
            if scope is self._scope and self._bind is not None:  # it ends with the process, not for another address
                remove_file(self._bind)
