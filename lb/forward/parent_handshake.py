"""The handshake with a parent: a proxy that is asked with CONNECT for the connection to the target."""

from __future__ import annotations

import base64
import socket
from typing import Protocol, cast

import attrs

from lb.http1.grammar import MalformedError
from lb.http1.head_buffer import HeadBuffer
from lb.http1.response_head import ResponseHeads
from lb.pools.backend import Backend
from lb.proxy.proxy_tlvs import ProxiedClient
from lb.proxy.server_handshake import Handshaking, ServerHandshake
from lb.relay.splicer import Handshake
from lb.tls.layer import Tls

__all__ = ["ASKS_FOR_LOGIN", "ParentClient", "ParentHandshake", "login_line"]

LONGEST_ANSWER = 32 * 1024
"""Bytes of the head of a parent's answer."""
ANSWER_READ = 4096
"""Bytes of one read: more than nearly all heads."""
MOST_INTERIM = 8
"""Interim responses (1xx) before the answer. A guess: proxies send none."""
ASKS_FOR_LOGIN = "the parent asks for a login"
_UNAUTHORIZED = 407


class ParentClient(ProxiedClient, Protocol):
    """A client whose target is reached through a parent."""

    @property
    def authority(self) -> str:
        """The target: ``example.com:443``, ``[2001:db8::1]:443``."""

    @property
    def via(self) -> bytes:
        """The value of the client's own Via, which names the proxies before this one; empty if there is none."""


def login_line(user: str, password: str) -> bytes:
    """Return the line that logs in to a parent (RFC 7617)."""
    return b"Proxy-Authorization: Basic %s\r\n" % base64.b64encode(f"{user}:{password}".encode())


@attrs.frozen(eq=False)
class ParentHandshake:
    """Asks a parent for a connection to the target of a client, which is a :class:`ParentClient`.

    What the parent sends behind its answer is left to the relay. Implements
    :class:`lb.proxy.server_handshake.ServerHandshake`.
    """

    pseudonym: bytes
    """The name of this proxy in Via."""
    login: bytes = b""
    """The line of :func:`login_line`; empty without a login."""
    before: ServerHandshake | None = None
    """The handshake before: TLS, a PROXY header."""
    _heads: ResponseHeads = attrs.field(factory=ResponseHeads, init=False, repr=False)

    def begin(self, connector: Handshaking, server: socket.SocketType) -> None:
        request = self._request(cast("ParentClient", connector.owner))
        asking = _Asking(connector, server, request, self._heads)
        if self.before is None:
            asking.ready(server)
        else:
            self.before.begin(asking, server)

    def _request(self, client: ParentClient) -> bytes:
        authority = client.authority.encode()
        via = b"%s, " % client.via if client.via else b""
        return b"CONNECT %s HTTP/1.1\r\nHost: %s\r\nVia: %s1.1 %s\r\n%s\r\n" % (
            authority,
            authority,
            via,
            self.pseudonym,
            self.login,
        )


class _Asking:
    """The handshake with one parent.

    Implements :class:`lb.relay.splicer.Handshake`, and :class:`lb.proxy.server_handshake.Handshaking` for the handshake
    before: both run as one.
    """

    __slots__ = ("_answer", "_before", "_connector", "_heads", "_interim", "_server", "_tls", "_unread", "_unsent")

    def __init__(self, connector: Handshaking, server: socket.SocketType, request: bytes, heads: ResponseHeads) -> None:
        self._connector = connector
        self._server = server
        self._unsent = request
        self._heads = heads
        self._before: Handshake | None = None
        self._tls: Tls | None = None
        self._answer = HeadBuffer(LONGEST_ANSWER)
        self._interim = 0
        self._unread = 0

    # The connector of the handshake before

    speaks_for_others = False
    """That handshake asks for nothing behind the parent."""

    @property
    def backend(self) -> Backend | None:
        return self._connector.backend

    @property
    def owner(self) -> ProxiedClient:
        return self._connector.owner

    def handshake(self, server: socket.SocketType, handshake: Handshake) -> None:
        self._before = handshake
        self._connector.handshake(server, self)

    def ready(self, server: socket.SocketType, tls: Tls | None = None) -> None:
        """The parent can be asked. If a handshake was before, :meth:`proceed` goes on with that."""
        self._connector.speaks_for_others = True
        if tls is not None:
            self._tls = tls
            self._unsent = tls.seal(self._unsent)
        if self._before is None:
            self._connector.handshake(server, self)
        self._before = None

    def handshake_failed(self, error: OSError) -> None:
        self._connector.handshake_failed(error)

    # The handshake of the splicer

    @property
    def costly(self) -> bool:
        return self._before is not None and self._before.costly

    @property
    def writing(self) -> bool:
        return bool(self._unsent) if self._before is None else self._before.writing

    @property
    def unread(self) -> int:
        return self._unread if self._before is None else self._before.unread

    def proceed(self) -> bool:
        if self._before is not None:
            over = self._before.proceed()
            if self._before is not None:  # it goes on, or has failed
                return over
        try:
            passed = self._flush() and self._read_answer()
        except MalformedError as error:
            self._connector.handshake_failed(OSError(f"the parent's answer is malformed: {error}"))
            return True
        except OSError as error:
            self._connector.handshake_failed(error)
            return True
        if passed:
            self._connector.ready(self._server, self._tls)
        return passed

    def failed(self) -> None:
        self._connector.failed()

    def _flush(self) -> bool:
        """Send what is unsent. Return True if nothing is left."""
        if self._unsent:
            try:
                self._unsent = self._unsent[self._server.send(self._unsent) :]
            except BlockingIOError:
                return False
        return not self._unsent

    def _read_answer(self) -> bool:
        """Read until the answer is complete. Return False if the socket would block before."""
        read = self._read_plain if self._tls is None else self._read_tls
        try:
            while not read():
                pass
        except BlockingIOError:
            return False
        return True

    def _read_plain(self) -> bool:
        """Peek at what has come, and consume what belongs to the answer. Return True if that is complete."""
        peeked = self._server.recv(ANSWER_READ, socket.MSG_PEEK)
        complete = self._take(peeked)
        behind = len(self._answer) if complete else 0
        self._server.recv(len(peeked) - behind)
        self._unread = behind or int(len(peeked) == ANSWER_READ)
        return complete

    def _read_tls(self) -> bool:
        """Read what has come, and keep what is behind the answer. Return True if that is complete."""
        tls = self._tls
        assert tls is not None  # noqa: S101 - see _read_answer
        data, tls.early = tls.early, b""
        if not data:
            received = self._server.recv(ANSWER_READ)
            self._unread = int(len(received) == ANSWER_READ)
            data = tls.open(received) if received else b""
            if received and not data and not tls.ended:  # a part of a record, or a ticket
                return False
        complete = self._take(data)
        if complete:
            tls.early = self._answer.take_all()
        return complete

    def _take(self, data: bytes) -> bool:
        """Add bytes of the stream. Return True once it has the answer; bytes behind it stay in the buffer."""
        if not data:
            raise OSError("the parent closed the connection before its answer")
        answer = self._answer
        answer.feed(data)
        while (head := answer.take_head()) is not None:
            if self._passes(head):
                return True
        return False

    def _passes(self, head: bytes) -> bool:
        """Judge a complete head. Return False if it is an interim one. Raises OSError for a refusal."""
        answer = self._heads.read(head)
        if 200 <= answer.status < 300:
            return True
        if answer.interim and self._interim < MOST_INTERIM:
            self._interim += 1
            return False
        if answer.status == _UNAUTHORIZED:
            self._connector.speaks_for_others = False
            raise OSError(ASKS_FOR_LOGIN)
        raise OSError(f"the parent answers {answer.status}")
