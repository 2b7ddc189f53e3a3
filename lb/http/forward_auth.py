"""``forward_auth``: another server decides which requests pass."""

from __future__ import annotations

from collections.abc import Sequence

from lb.http.steps import ExchangeView
from lb.http.subrequests import Subrequests, Subresponse
from lb.http1.field import CONDITION, COOKIE, FORWARDED
from lb.model.request import HeaderFields

__all__ = ["ForwardAuth"]

_LEFT_OUT = FORWARDED | COOKIE | CONDITION
"""Of the request: what is written anew; and conditions and ranges of what the client asks for. The server that decides
would answer 304 or 206 for itself.
"""
_OWN = (b"x-forwarded-method", b"x-forwarded-uri")
_NOT_PASSED_ON = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length date via".split()
)
"""Of the answer: what belongs to its connection, and what the balancer writes itself."""


class ForwardAuth:
    """Lets those requests pass that another server answers with 2xx. Implements :class:`lb.http.steps.Step`.

    ``copied`` are the names of fields that are copied from that answer to the request. The client's own fields of
    these names are removed, also those that differ in ``_`` for ``-``, because CGI and WSGI make them the same.
    """

    def __init__(self, requests: Subrequests, copied: Sequence[str] = ()) -> None:
        self._requests = requests
        self._copied = [(name.encode(), name.lower().encode()) for name in copied]
        self._names = frozenset(_with_dashes(name) for _, name in self._copied)

    def begin(self, exchange: ExchangeView) -> bool:
        exchange.spawn(self._ask, exchange)
        return False

    async def _ask(self, exchange: ExchangeView) -> None:
        try:
            answer = await self._requests.get(_question(exchange))
        except TimeoutError:
            exchange.fail(504, "auth")
        except OSError:
            exchange.fail(502, "auth")
        else:
            if 200 <= answer.status < 300:
                self._copy(answer, exchange)
                exchange.passed()
            else:
                exchange.respond(answer.status, _passed_on(answer), answer.body, reason="auth")

    def _copy(self, answer: Subresponse, exchange: ExchangeView) -> None:
        """Copy fields of the answer to the request."""
        if not self._names:
            return
        for field in exchange.head.block.fields:
            if _with_dashes(field.name) in self._names:
                exchange.set_request_field(field.name, None)
        for name, lower in self._copied:
            values = [value for each, value in answer.fields if each == lower]
            exchange.set_request_field(name, b", ".join(values) if values else None)


def _question(exchange: ExchangeView) -> HeaderFields:
    """Return the fields of the request to the server that decides."""
    head = exchange.head
    fields = [(field.name, field.value) for field in head.block.end_to_end() if not field.meaning & _LEFT_OUT]
    if head.cookies is not None:
        fields.append((b"cookie", head.cookies))
    own = ((b"X-Forwarded-Method", head.method), (b"X-Forwarded-Uri", head.target))
    told = (field for field in exchange.forwarded() if field[0].lower() not in _OWN)
    return [*fields, *told, *own]


def _passed_on(answer: Subresponse) -> HeaderFields:
    """Return the fields of an answer that the client gets."""
    options = b",".join(value for name, value in answer.fields if name == b"connection").lower().split(b",")
    dropped = _NOT_PASSED_ON.union(option.strip(b" \t") for option in options)
    return [(name, value) for name, value in answer.fields if name not in dropped]


def _with_dashes(name: bytes) -> bytes:
    return name.replace(b"_", b"-")
