"""A request for the unit tests of steps and targets, without a connection."""

from __future__ import annotations

from collections import namedtuple

import trio

from lb.http1.request_head import RequestHeads
from lb.model.address import Client

Answer = namedtuple("Answer", "status fields body reason")  # noqa: PYI024 - tests have no types


def request_head(*lines, target=b"/", method=b"GET", host=b"www.example.com"):
    """Return the head of a request with these field lines (bytes), after Host."""
    block = b"".join(line + b"\r\n" for line in (b"Host: " + host, *lines))
    return RequestHeads().read(b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, block))


class FakeExchange:
    """Records what becomes of a request. Implements :class:`lb.http.steps.ExchangeView`.

    ``nursery`` runs its tasks.
    """

    id = "one"

    def __init__(self, head=None, *, client="192.0.2.1", scheme=b"http", nursery=None):
        self.head = head or request_head()
        self.client = Client(client, 50_000 if client else 0)
        self.scheme = scheme
        self.answer = None
        self.passes = 0
        self.set_fields = {}
        self.decided = trio.Event()
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self._left = False

    @property
    def ended(self):
        return self.answer is not None or self._left

    def forwarded(self):
        return [
            (b"X-Forwarded-For", self.client.host.encode()),
            (b"X-Forwarded-Proto", self.scheme),
            (b"X-Forwarded-Host", self.head.host),
            (b"X-Request-Id", self.id.encode()),
        ]

    def respond(self, status, fields=(), body=b"", *, reason="ok"):
        if not self.ended:
            self.answer = Answer(status, dict(fields), body, reason)
            self.decided.set()

    def fail(self, status, reason, fields=(), detail=""):
        self.respond(status, fields, b"an error page" + detail.encode(), reason=reason)

    def passed(self):
        if not self.ended:
            self.passes += 1
            self.decided.set()

    def set_request_field(self, name, value):
        self.set_fields[name] = value

    def spawn(self, async_fn, *args):
        self._nursery.start_soon(self._run, async_fn, args)

    async def _run(self, async_fn, args):
        with self._scope:
            await async_fn(*args)

    def leave(self):
        """The client leaves: the request's tasks are cancelled."""
        self._left = True
        self._scope.cancel()

    async def outcome(self):
        """Wait until the request was answered or has passed. Return the status, or ``passed``."""
        await self.decided.wait()
        return self.answer.status if self.answer is not None else "passed"
