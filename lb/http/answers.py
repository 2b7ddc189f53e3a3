"""Targets that need no server: a redirect and a text."""

from __future__ import annotations

import re

from lb.http.steps import ExchangeView
from lb.http.templates import RequestValues, Template
from lb.model.http import Redirect, Respond

__all__ = ["RedirectTarget", "RespondTarget"]

_NOT_IN_URL = re.compile(rb"[^0-9A-Za-z\-._~:/?#\[\]@!$&'()*+,;=%]|%(?![0-9A-Fa-f]{2})")
_WITHOUT_BODY = frozenset((204, 205, 304))


class RedirectTarget:
    """Answers with a Location: ``https://{host}{uri}``. One object serves all requests of a route."""

    def __init__(self, spec: Redirect) -> None:
        self._status = spec.status
        self._location = Template(spec.location)
        self._on_this_host = not spec.location.startswith("//")

    def begin(self, exchange: ExchangeView) -> None:
        """Answer, with 400 if the location needs the Host that an old client did not send."""
        values = _values(exchange)
        if "host" in self._location.names and not values.host:
            exchange.fail(400, "bad_request")
            return
        location = _NOT_IN_URL.sub(_escape, self._location.render(values))
        if location.startswith(b"//") and self._on_this_host:
            location = b"/" + location.lstrip(b"/")  # what the path of a request says must not become a host
        exchange.respond(self._status, ((b"Location", location),))


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


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
