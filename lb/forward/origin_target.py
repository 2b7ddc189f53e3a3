"""Absolute-form requests: answered by the server that they name."""

from __future__ import annotations

from functools import partial

from lb.forward.exchange import ForwardExchange
from lb.forward.failure import LOOP, ForwardFailure
from lb.forward.names import NameLookUp
from lb.forward.no_server_yet import NoServerYet
from lb.forward.origins import Origin, Origins
from lb.forward.proxy_frontend import ProxyFrontend
from lb.forward.reachable import Addresses
from lb.http.carrier import ExchangeToServe, Responder
from lb.http1.field import AUTHORIZATION, COOKIE
from lb.http1.grammar import MalformedError

__all__ = ["NoProxyRequest", "OriginTarget"]

_COUNTED = (b"TRACE", b"OPTIONS")
"""Methods with Max-Forwards: RFC 9110, section 7.6.2."""
_LONGEST_COUNT = 9
"""Digits of Max-Forwards."""
_METHODS = b"CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE"


class NoProxyRequest:
    """Answers requests that are meant for a web server. Implements :class:`lb.http.carrier.Responder`."""

    def begin(self, exchange: ExchangeToServe) -> None:
        exchange.fail(400, "bad_request", (), "This is a proxy. Requests must name a whole URL")


class OriginTarget:
    """Implements :class:`lb.http.carrier.Responder`."""

    def __init__(self, frontend: ProxyFrontend, origins: Origins, parents: Responder | None) -> None:
        self._identity = frontend.identity
        self._origins = origins
        self._reachable = frontend.wires.reachable
        self._parents = parents

    def begin(self, exchange: ExchangeToServe) -> None:
        assert isinstance(exchange, ForwardExchange)  # noqa: S101 - ForwardConnection makes them
        head = exchange.head
        if self._identity.is_in_loop(head.block):
            exchange.refuse(LOOP)
        elif not head.host:
            exchange.respond(200, ((b"Allow", _METHODS),))
        elif head.method not in _COUNTED or not _ends_here(exchange):
            self._ask(exchange)

    def _ask(self, exchange: ForwardExchange) -> None:
        try:
            origin = self._origins.of(exchange.head.host)
        except MalformedError as error:
            exchange.fail(400, "bad_request", (), str(error))
            return
        if self._parents is not None and not (origin.refused or self._reachable.is_own(origin.target)):
            self._parents.begin(exchange)
            return
        found = origin.refused or self._reachable.at_once(origin.target)
        if found is not None:
            self._go_on(exchange, origin, found)
        else:
            looking_up = self._reachable.look_up(origin.target, partial(self._found, exchange, origin))
            exchange.upstream = _LookingUp(looking_up)

    def _found(self, exchange: ForwardExchange, origin: Origin, found: Addresses | ForwardFailure) -> None:
        loop = exchange.carrier.loop
        loop.refresh()
        exchange.upstream = None
        route = exchange.frontend.find(exchange.head)
        try:
            if isinstance(found, ForwardFailure) or route is None or route.target is self:
                self._go_on(exchange, origin, found)
            else:  # another configuration judges it, by what is known now
                route.target.begin(exchange)
        except Exception as exception:  # noqa: BLE001 - a bug in one request must not reach another
            loop.fault("http", exception)
            exchange.fail(500, "no_server")

    def _go_on(self, exchange: ForwardExchange, origin: Origin, found: Addresses | ForwardFailure) -> None:
        if isinstance(found, ForwardFailure):
            exchange.refuse(found)
        else:
            self._origins.responder(origin, found).begin(exchange)


def _ends_here(exchange: ForwardExchange) -> bool:
    """Count Max-Forwards down. Return True if the request has been answered, because it goes no further."""
    count = exchange.head.block.get(b"max-forwards")
    if count is None or not count.isdigit() or len(count) > _LONGEST_COUNT:
        return False
    if int(count):
        exchange.set_request_field(b"Max-Forwards", b"%d" % (int(count) - 1))
        return False
    if exchange.head.method == b"OPTIONS":
        exchange.respond(200, ((b"Allow", _METHODS),))
    else:
        exchange.respond(200, ((b"Content-Type", b"message/http"),), _traced(exchange))
    return True


def _traced(exchange: ForwardExchange) -> bytes:
    """Return the head as it came, without what is secret: RFC 9110, section 9.3.8."""
    head = exchange.head
    secret = AUTHORIZATION | COOKIE
    lines = [
        field.wire for field in head.block.fields if not field.meaning & secret and not field.name.startswith(b"proxy-")
    ]
    return b"TRACE http://%s%s HTTP/1.%d\r\n%s\r\n" % (head.host, head.target, head.minor, b"".join(lines))


class _LookingUp(NoServerYet):
    """A request whose server's name is looked up."""

    def __init__(self, look_up: NameLookUp) -> None:
        self._look_up = look_up

    def end(self) -> None:
        self._look_up.cancel()
