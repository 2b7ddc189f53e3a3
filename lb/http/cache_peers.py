"""The other workers of the process, as caches: each key has one worker that asks the servers for it.

So all who ask for something at the same time share one fetch, whichever worker has their connection. A worker asks
another one over a socket of the abstract namespace, as a client that is believed, and that the steps of its route have
let pass already. A worker that is gone is not waited for: then the servers are asked.
"""

from __future__ import annotations

import hashlib
import socket
import zlib
from weakref import WeakValueDictionary

from lb.http.client_connection import ClientConnection
from lb.http.frontend import HttpFrontend
from lb.http.upstream_request import PoolTarget
from lb.http1.response_head import ResponseHeads
from lb.model import ListenerSpec, PoolSpec, RouteSpec, ServerSpec, ToPool
from lb.model.address import Address, Client
from lb.net.cooperate import done_at_once
from lb.net.peer_user import is_own_user
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext
from lb.proxy.route import make_route
from lb.relay.epoll_acceptor import EpollAcceptor

__all__ = ["CachePeers", "PeerConnection"]

BACKLOG = 1024
NOBODY = Client("", 0)


class PeerConnection(ClientConnection):
    """A connection of another worker. What it asks for is counted and recorded there."""

    __slots__ = ()
    from_peer = True

    def begin_requests(self) -> None:
        super().begin_requests()
        self.trusted = True
        self.buckets = ()

    def left_listener(self) -> None:
        """It never came through the listener."""


class CachePeers:
    """The other workers, for the routes of one listener."""

    def __init__(self, context: ConnectionContext, frontend: HttpFrontend) -> None:
        assert context.place.worker is not None  # noqa: S101 - there are other workers
        self._context = context
        self._frontend = frontend
        self._own = context.place.worker
        self._targets: dict[int, PoolTarget] = {}
        self._listening: tuple[socket.socket, EpollAcceptor] | None = None

    def configure(self, spec: ListenerSpec) -> None:
        """Apply new settings of the listener."""
        if self._listening is None:
            self._listen(spec.name)
        self._targets = {
            worker: self._target(worker, spec) for worker in range(self._context.place.workers) if worker != self._own
        }

    def of(self, key: bytes) -> PoolTarget | None:
        """Return the way to the worker that has this key; None: it is this one."""
        worker = zlib.crc32(key) % self._context.place.workers
        return None if worker == self._own else self._targets[worker]

    def _name(self, worker: int, listener: str) -> str:
        """Return the name of a worker's socket. Who does not know the secret cannot guess it."""
        text = f"{self._context.place.group}/{listener}/{worker}"
        return "@trio-lb-" + hashlib.blake2b(text.encode(), key=self._context.secret[:64], digest_size=16).hexdigest()

    def _listen(self, listener: str) -> None:
        by_listener = self._context.of_mode(_peers_by_listener)
        if listener in by_listener:  # of a listener whose address another one has taken over
            by_listener[listener].close()
        by_listener[listener] = self
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listening.bind("\0" + self._name(self._own, listener)[1:])
        listening.listen(BACKLOG)
        acceptor = self._frontend.splicer.listen(
            listening,
            may_accept=lambda: True,
            accepted=self._accepted,
            exhausted=lambda _error: None,
        )
        self._listening = listening, acceptor

    def close(self) -> None:
        """Accept the other workers no more. They ask the servers themselves, and another listener may have the name."""
        if self._listening is not None:
            (listening, acceptor), self._listening = self._listening, None
            acceptor.detach()
            listening.close()

    def _accepted(self, sock: socket.SocketType, _address: object) -> None:
        if not is_own_user(sock):
            sock.close()
            return
        PeerConnection(self._context, self._frontend, sock, NOBODY).start()

    def _target(self, worker: int, spec: ListenerSpec) -> PoolTarget:
        name = self._name(worker, spec.name)
        server = ServerSpec(f"worker {worker}", Address(f"unix:{name}", path=name))
        pool_spec = PoolSpec("cache", (server,), health=None)
        pool = Pool("cache", lambda _event: None, lambda _pool, _backend, _change: None)
        pool.apply(done_at_once(pool.prepare(pool_spec)), {server.address: ((socket.AF_UNIX, "\0" + name[1:]),)}, 0.0)
        route = make_route(pool, spec, self._context.deadlines, self._context.tls)
        return PoolTarget(self._context, self._frontend.loop, route, RouteSpec(spec.name, ToPool("")), ResponseHeads())


def _peers_by_listener(_context: ConnectionContext) -> WeakValueDictionary[str, CachePeers]:
    return WeakValueDictionary()
