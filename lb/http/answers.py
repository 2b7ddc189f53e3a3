"""Targets that need no server: a redirect and a text."""

from __future__ import annotations

from lb.http.locations import Location
from lb.http.steps import ExchangeView
from lb.http.templates import RequestValues, Template
from lb.model.http import Redirect, Respond

__all__ = ["RedirectTarget", "RespondTarget"]

_WITHOUT_BODY = frozenset((204, 205, 304))


class RedirectTarget:
    """Answers with a Location: ``https://{host}{uri}``. One object serves all requests of a route."""

    def __init__(self, spec: Redirect) -> None:
        self._status = spec.status
        self._location = Location(spec.location)

    def begin(self, exchange: ExchangeView) -> None:
        location = self._location.render(_values(exchange))
        if location is None:
            exchange.fail(400, "bad_request")
        else:
            exchange.respond(self._status, ((b"Location", location),))


class RespondTarget:
    """Answers with a text. One object serves all requests of a route."""

    def __init__(self, spec: Respond) -> None:
        self._status = spec.status
        self._text = Template(spec.text)

    def begin(self, exchange: ExchangeView) -> None:
        if self._status in _WITHOUT_BODY:
            exchange.respond(self._status)
            return
        text = self._text.constant
        if text is None:
            text = self._text.render(_values(exchange))
        exchange.respond(self._status, ((b"Content-Type", b"text/plain; charset=utf-8"),), text)


def _values(exchange: ExchangeView) -> RequestValues:
    return RequestValues(exchange.head, exchange.client.host.encode(), exchange.scheme, exchange.id.encode())
