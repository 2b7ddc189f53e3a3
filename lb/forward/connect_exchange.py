"""A CONNECT request: it becomes a tunnel, or is refused."""

from __future__ import annotations

import socket

from lb.events import Attempt, RequestReason
from lb.forward.asked import Asked
from lb.forward.carrier import ForwardCarrier
from lb.forward.dial import Dial
from lb.forward.exchange import ForwardExchange
from lb.forward.failure import LOOP, ForwardFailure
from lb.forward.no_server_yet import NoServerYet
from lb.forward.proxy_auth import user_of
from lb.forward.proxy_frontend import ProxyFrontend
from lb.forward.target import ForwardTarget, parse_authority
from lb.forward.tunnel import Tunnel
from lb.http.carrier import ExchangeToServe
from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHead
from lb.model.request import HeaderFields
from lb.pools.backend import Backend
from lb.tls.layer import Tls

__all__ = ["ConnectExchange", "ConnectTarget"]

_ASK_LOGIN = 407
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ConnectTarget:
    """Implements :class:`lb.http.carrier.Responder`."""

    def begin(self, exchange: ExchangeToServe) -> None:
        assert isinstance(exchange, ConnectExchange)  # noqa: S101 - ForwardCarrier makes them
        exchange.connect()


class ConnectExchange(ForwardExchange):
    """Implements :class:`lb.forward.dial.DialOwner`."""

    carrier: ForwardCarrier
    frontend: ProxyFrontend
    takes_connect = True

    def __init__(self, carrier: ForwardCarrier, frontend: ProxyFrontend, head: RequestHead) -> None:
        super().__init__(carrier, frontend, head)
        user = user_of(head) if frontend.users is not None else None
        self._target: ForwardTarget | None = None
        self._malformed = ""
        try:
            self._target = parse_authority(head.target)
        except MalformedError as error:
            self._malformed = str(error)
        text = "" if self._target is None else self._target.text
        self.asked = carrier.asked = Asked("connect", text, user)

    def connect(self) -> None:
        """Connect to the target. The client has passed."""
        head, frontend = self.head, self.frontend
        if head.has_body:  # some would read it as the first bytes of the tunnel
            self.fail(400, "bad_request", (), "CONNECT has no body")
        elif self._target is None:
            self.fail(400, "bad_request", (), self._malformed)
        elif frontend.identity.is_in_loop(head.block):
            self.refuse(LOOP)
        else:
            via = b", ".join(head.block.get_all(b"via"))
            dial = frontend.dial(self._target, self.carrier, via)
            self.upstream = _Dialing(dial)
            dial.start(self)

    def dialed(self, server: socket.SocketType, tls: Tls | None) -> None:
        carrier, upstream = self.carrier, self.upstream
        assert isinstance(upstream, _Dialing)  # noqa: S101 - it has dialed
        carrier.loop.refresh()
        try:
            carrier.write(_ESTABLISHED)
        except OSError:
            carrier.loop.close(server)
            self.client_left()
            return
        self.upstream = None  # the tunnel has the dial
        self.ended = True
        self._note("ok")
        Tunnel(carrier, self.asked, upstream.dial, server, tls)

    def dial_failed(self, failure: ForwardFailure) -> None:
        self.carrier.loop.refresh()
        self.refuse(failure)

    def fail(self, status: int, reason: RequestReason, fields: HeaderFields = (), detail: str = "") -> None:
        if status != _ASK_LOGIN or self.carrier.has_ahead:
            self.carrier.must_close = True  # else it may come again, with other credentials
        super().fail(status, reason, fields, detail)

    def _report(self) -> None:
        attempts = self.upstream.attempts if self.upstream is not None else ()
        self.asked.failed_with(self._reason, attempts)
        self._note(self.failure.result if self.failure is not None else self._reason)

    def _note(self, result: str) -> None:
        self.frontend.note("connect", result, self.asked.target.encode())


class _Dialing(NoServerYet):
    """The dial of an exchange."""

    def __init__(self, dial: Dial) -> None:
        self.dial = dial

    @property
    def backend(self) -> Backend | None:
        return self.dial.backend

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return self.dial.attempts

    def server_removed(self) -> None:
        self.dial.server_removed()

    def end(self) -> None:
        self.dial.cancel()
        self.dial.release()
