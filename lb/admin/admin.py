"""The admin endpoint of a running command: it follows the configuration, as listeners do.

Its libraries, 0.1 s of them, are loaded when a configuration asks for it.
"""

from __future__ import annotations

import socket
from collections.abc import Collection

import trio

from lb.address import Address
from lb.admin.feed import Feed
from lb.admin.process import ConfigFile
from lb.admin.sockets import ADMIN, open_admin
from lb.binds import Place
from lb.carrier import Opened
from lb.events import AdminStarted
from lb.model import AdminSpec
from lb.observers import Observers
from lb.server import Balancer
from lb.service.given_sockets import socket_name
from lb.sockets import remove_file

__all__ = ["Admin"]


class Admin:
    """Implements :class:`lb.admin.process.Process`. Serves in a nursery of the caller's."""

    def __init__(self, balancer: Balancer, say: Observers, file: ConfigFile, nursery: trio.Nursery) -> None:
        self.balancer = balancer
        self.feed = Feed()
        self.say = say
        self.file = file
        self._nursery = nursery
        self._bind: Address | None = None
        self._sockets: list[socket.socket] = []
        self._scope = trio.CancelScope()

    def open(self, spec: AdminSpec | None) -> list[socket.socket]:
        """Bind what this needs and is not bound yet. Raises OSError, see :func:`open_admin`."""
        return open_admin(spec.bind) if spec is not None and spec.bind != self._bind else []

    def follow(self, spec: AdminSpec | None, opened: list[socket.socket]) -> None:
        """Serve there from now on, on what :meth:`open` gave, and nowhere else."""
        bind = spec.bind if spec is not None else None
        if bind == self._bind:
            return
        self._scope.cancel()
        if self._bind is not None:
            remove_file(self._bind)
        self._bind, self._sockets = bind, opened
        if opened:
            self.say.add(self.feed)
            self._scope = trio.CancelScope()
            for sock in opened:
                self.say(AdminStarted(socket_name(sock)))
            self._nursery.start_soon(self._serve, opened, self._scope)

    @property
    def listening(self) -> Opened:
        """Its sockets, by their place."""
        return {(ADMIN, self._bind): self._sockets} if self._bind is not None else {}

    def leave(self, elsewhere: Collection[Place]) -> None:
        """Another process takes this one's place, with these sockets."""
        if self._bind is not None and (ADMIN, self._bind) not in elsewhere:
            remove_file(self._bind)
        self._bind = None
        self._scope.cancel()

    async def _serve(self, sockets: list[socket.socket], scope: trio.CancelScope) -> None:
        from lb.admin.endpoint import serve_admin  # noqa: PLC0415 - most configurations have none

        try:
            with scope:
                await serve_admin(sockets, self)
        finally:
            for sock in sockets:
                sock.close()
            if scope is self._scope and self._bind is not None:  # it ends with the process, not for another address
                remove_file(self._bind)
