"""The load of short connections: each has its own handshake, one request, and the answer to its end; 32 at a time.

wrk cannot send a PROXY header, and cannot choose between a full and a resumed TLS handshake.
"""

from __future__ import annotations

import collections
import select
import socket
import ssl
import time
from collections.abc import Generator, Iterator

import attrs
from certificate import SERVER_NAME
from clients import PATIENCE, Client
from processes import HOST

__all__ = ["Visits", "visit"]

AT_A_TIME = 32
ANY_CHANGE = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
CHUNK = 4096
SUCCESS = b"HTTP/1.1 200 OK\r\n"
RESUMED = b"\r\n\r\nr"
"""The end of the answer to ``/resumed`` if the server has resumed a TLS session."""
ENDS = (b"\r\n\r\nok", RESUMED, b"\r\n\r\n.")
"""The ends of all whole answers."""


@attrs.define
class Visits:
    """The successful connections of a load, and the errors by their text."""

    seconds: float = 0.0
    count: int = 0
    resumed: int = 0
    """TLS handshakes of the clients that were resumed."""
    resumed_behind: int = 0
    """TLS handshakes of the balancer with the servers that were resumed, as the servers say in their answers."""
    errors: collections.Counter[str] = attrs.field(factory=collections.Counter)

    @property
    def problems(self) -> tuple[str, ...]:
        texts = tuple(f"{count} connections failed: {text}" for text, count in self.errors.items())
        return texts if self.count else (*texts, "no responses")


@attrs.define
class _Visitor:
    """One of the 32. It makes one connection after the other."""

    port: int
    client: Client
    request: bytes
    visits: Visits
    session: ssl.SSLSession | None
    """The TLS session of its last full handshake, which the next connection resumes; None: all are full ones."""

    def visit(self, plain: socket.socket) -> Iterator[None]:
        """Use a new socket for a connection, and close it. Yield whenever it waits for a change of the socket."""
        try:
            with plain:
                plain.connect_ex((HOST, self.port))
                yield
                plain.sendall(self.client.header)
                yield from self.client.negotiate(plain)
                with self._layer(plain) as connection:
                    if isinstance(connection, ssl.SSLSocket):
                        yield from _handshake(connection)
                    connection.sendall(self.request)
                    answer = yield from _answer(connection)
                    self._count(connection, answer)
        except OSError as error:  # ssl.SSLError too
            self.visits.errors[str(error)] += 1

    def _layer(self, plain: socket.socket) -> socket.socket:
        """Return the socket for the request; with TLS, it takes over the descriptor."""
        if self.client.tls is None:
            return plain
        return self.client.tls.wrap_socket(
            plain, server_hostname=SERVER_NAME, do_handshake_on_connect=False, session=self.session
        )

    def _count(self, connection: socket.socket, answer: bytes) -> None:
        if not (answer.startswith(SUCCESS) and answer.endswith(ENDS)):
            self.visits.errors[f"the answer is {answer[:20]!r} … {answer[-20:]!r}"] += 1
            return
        self.visits.count += 1
        self.visits.resumed_behind += answer.endswith(RESUMED)
        if isinstance(connection, ssl.SSLSocket):
            self.visits.resumed += bool(connection.session_reused)
            if self.session is not None and not connection.session_reused:
                self.session = connection.session  # Python copies it, which costs as much as half a handshake


def visit(port: int, path: str, seconds: float, client: Client, *, resume: bool = False) -> Visits:
    """Make connections for this long. With ``resume``, each but the first resumes a TLS session if the balancer can."""
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
    session = _new_session(port, client, request) if resume else None
    visits = Visits()
    started = time.perf_counter()
    _run([_Visitor(port, client, request, visits, session) for _ in range(AT_A_TIME)], started + seconds)
    visits.seconds = time.perf_counter() - started
    return visits


def _run(visitors: list[_Visitor], until: float) -> None:
    """Let all visitors make connections until then, and wait for the last ones. Raises TimeoutError."""
    visiting: dict[int, tuple[_Visitor, Iterator[None]]] = {}
    with select.epoll() as changes:

        def begin(visitor: _Visitor) -> None:
            sock = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            visit = visitor.visit(sock)
            next(visit)
            visiting[sock.fileno()] = visitor, visit
            changes.register(sock, ANY_CHANGE)

        for visitor in visitors:
            begin(visitor)
        while visiting:
            events = changes.poll(PATIENCE)
            if not events:
                raise TimeoutError(f"{len(visiting)} connections without progress for {PATIENCE:g} s")
            for descriptor, _ in events:
                visitor, visit = visiting[descriptor]
                if next(visit, visitor) is visitor:  # the end
                    del visiting[descriptor]
                    if time.perf_counter() < until:
                        begin(visitor)


def _handshake(connection: ssl.SSLSocket) -> Iterator[None]:
    while True:
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            yield
        else:
            return


def _answer(connection: socket.socket) -> Generator[None, None, bytes]:
    """Receive to the end; return all."""
    answer = b""
    while True:
        try:
            received = connection.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            yield
        else:
            if not received:
                return answer
            answer += received


def _new_session(port: int, client: Client, request: bytes) -> ssl.SSLSession | None:
    """Return the TLS session of a connection with one request."""
    with client.connect(port) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        connection.sendall(request)
        while connection.recv(CHUNK):
            pass
        return connection.session
