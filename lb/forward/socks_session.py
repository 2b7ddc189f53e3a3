"""A client that speaks SOCKS: the negotiation on its socket, then the connect to its target."""

from __future__ import annotations

import socket
from functools import partial

import trio

from lb.events import RequestReason
from lb.forward.asked import Asked
from lb.forward.carrier import ForwardCarrier
from lb.forward.dial import Dial
from lb.forward.failure import ForwardFailure
from lb.forward.socks import NeedMore, SocksLogin, SocksRefused, SocksReply, SocksRequest, SocksSend, SocksServer
from lb.forward.tunnel import Tunnel
from lb.http.client_connection import MOST_AHEAD
from lb.http.user_list import UserList
from lb.tls.layer import Tls

__all__ = ["SocksSession"]


class SocksSession:
    """Implements :class:`lb.forward.dial.DialOwner`. Calls of the connection are those of its socket."""

    def __init__(self, connection: ForwardCarrier, first_byte: int) -> None:
        frontend = connection.frontend
        self._connection = connection
        self._frontend = frontend
        self._server = SocksServer(frontend.proxy.protocols, auth=frontend.users is not None)
        self._asked = connection.asked = Asked("socks4" if first_byte == 4 else "socks5", "", None)
        self._request: SocksRequest | None = None
        self._dial: Dial | None = None
        self._login_scope: trio.CancelScope | None = None
        """Of the check of a password."""

    @property
    def dial(self) -> Dial | None:
        """The connect to the target, once the client has asked for it."""
        return self._dial

    def readable(self) -> None:
        """The client may have sent something. Raises OSError."""
        connection = self._connection
        while connection.has_input and not connection.is_ending:
            if self._login_scope is not None:
                return  # the rest waits in the socket
            if self._request is not None:
                self._look_for_end()
                return
            data = connection.read_bytes(self._server.room)
            if data is None:
                return
            if not data:
                connection.lost("client", "eof")
                return
            self._server.feed(data)
            self._advance()

    def _look_for_end(self) -> None:
        """See whether the client has left while it waits. What it sends ahead is kept, up to a bound."""
        connection = self._connection
        if not connection.until_eagain or len(connection.unread) >= MOST_AHEAD:
            return
        ahead, connection.unread = connection.unread, b""
        data = connection.read_bytes(MOST_AHEAD)
        if data == b"" and not ahead:
            connection.lost("client", "eof")
            return
        connection.unread = ahead + (data or b"")

    def _advance(self) -> None:
        """Do what is to be done until more bytes are needed."""
        while self._login_scope is None and self._request is None and not self._connection.is_ending:
            event = self._server.next()
            match event:
                case NeedMore():
                    return
                case SocksSend():
                    self._connection.write(event.data)
                case SocksLogin():
                    self._log_in(event)
                case SocksRefused():
                    self._end(event.data, "auth" if event.unauthorized else "bad_request")
                    return
                case SocksRequest():
                    self._begin(event)

    # The login

    def _log_in(self, login: SocksLogin) -> None:
        users = self._frontend.users
        assert users is not None  # noqa: S101 - nobody was asked for a login else
        self._asked.user = login.user.decode(errors="replace")
        credentials = b"%s:%s" % (login.user, login.password)
        right = users.remembered(credentials) if b":" not in login.user else False
        if right is None:
            self._login_scope = trio.CancelScope()
            self._connection.loop.spawn(partial(self._check, users, credentials, self._login_scope))
        else:
            self._logged_in(right=right)

    async def _check(self, users: UserList, credentials: bytes, scope: trio.CancelScope) -> None:
        connection = self._connection
        with scope:
            try:
                try:
                    right = await users.check(credentials, connection.client.host)
                except OSError:  # too many wait, or it took too long
                    right = False
                self._login_scope = None
                connection.loop.refresh()
                connection.contained(partial(self._go_on, right=right))
            except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
                connection.loop.fault("socks", exception)
                connection.failed(exception)

    def _go_on(self, *, right: bool) -> None:
        self._logged_in(right=right)
        self._advance()
        self.readable()

    def _logged_in(self, *, right: bool) -> None:
        self._connection.write(self._server.login_result(right))

    # The connect

    def _begin(self, request: SocksRequest) -> None:
        self._request = request
        self._asked.target = request.target.text
        connection = self._connection
        connection.give_back(request.leftover)
        connection.negotiated()
        self._dial = self._frontend.dial(request.target, connection, b"")
        self._dial.start(self)

    def dialed(self, server: socket.SocketType, tls: Tls | None) -> None:
        connection, dial = self._connection, self._dial
        assert dial is not None  # noqa: S101 - it has dialed
        connection.loop.refresh()
        try:
            connection.write(self._server.reply(SocksReply.SUCCEEDED))
        except OSError:
            connection.loop.close(server)
            connection.lost("client", "reset")
            return
        self._dial = None  # the tunnel has it
        self._note("ok")
        Tunnel(connection, self._asked, dial, server, tls)

    def dial_failed(self, failure: ForwardFailure) -> None:
        connection, dial = self._connection, self._dial
        assert dial is not None  # noqa: S101 - it has failed
        connection.loop.refresh()
        self._dial = None
        self._note(failure.result)
        self._asked.failed_with(failure.reason, dial.attempts)
        dial.release()
        connection.contained(partial(connection.end_with, self._server.reply(failure.socks)))

    # The end

    def _end(self, data: bytes, reason: RequestReason) -> None:
        """Refuse the client."""
        self._note(reason)
        self._asked.failed_with(reason)
        self._connection.end_with(data)

    def _note(self, result: str) -> None:
        self._frontend.note(self._asked.protocol, result, self._asked.target.encode())

    def cancel(self) -> None:
        """The connection has ended."""
        if self._login_scope is not None:
            self._login_scope.cancel()
        if self._dial is not None:
            self._note("client_left")
            self._dial.cancel()
            self._dial.release()
            self._dial = None
