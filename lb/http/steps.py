"""What a request passes on its way: steps, then a target. What a response's body passes: transforms.

They see the request through :class:`ExchangeView`, so that none of them depends on what carries it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVarTuple

from lb.events import RequestReason
from lb.http.file_flow import Body
from lb.http1.request_head import RequestHead
from lb.model.address import Client
from lb.model.request import HeaderFields

__all__ = ["ExchangeView", "Step", "Transform"]

Ts = TypeVarTuple("Ts")


class ExchangeView(Protocol):
    """One request and its response, as steps and targets see them."""

    @property
    def head(self) -> RequestHead: ...

    @property
    def client(self) -> Client:
        """Behind trusted proxies, the client that they name."""

    @property
    def scheme(self) -> bytes:
        """``http`` or ``https``: what the client used, also according to trusted proxies."""

    @property
    def id(self) -> str:
        """The X-Request-Id."""

    @property
    def ended(self) -> bool:
        """The request is over, because it was answered or the client left. Later calls do nothing."""

    def forwarded(self) -> HeaderFields:
        """Return X-Forwarded-For, -Proto and -Host, and X-Request-Id, as the server gets them."""

    def respond(
        self, status: int, fields: HeaderFields = (), body: Body = b"", *, reason: RequestReason = "ok"
    ) -> None:
        """Answer the request. Content-Length, Date, Via and Connection are added; for HEAD, the body is left out."""

    def fail(self, status: int, reason: RequestReason, fields: HeaderFields = (), detail: str = "") -> None:
        """Answer the request with an error page. ``detail`` is a line of it."""

    def passed(self) -> None:
        """Let the request go on. Called by a step whose ``begin`` returned False."""

    def set_request_field(self, name: bytes, value: bytes | None) -> None:
        """Replace all fields of this name in what the server gets; None removes them. Connection cannot name it."""

    def spawn(self, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Run a task that is cancelled when the request ends. An exception in it is reported; the client gets 500."""


class Step(Protocol):
    """A condition that requests must meet before their target. One object serves all requests of a route."""

    def begin(self, exchange: ExchangeView) -> bool:
        """Return True if the request passes at once.

        Else the step has answered it, or will answer it or call ``exchange.passed()`` later.
        """


class Transform(Protocol):
    """Changes the body of one response on its way."""

    def feed(self, data: bytes) -> bytes:
        """Return what can be sent once ``data`` has come. Must be quick. What came in goes out, without delay."""

    def finish(self) -> bytes:
        """Return the rest, at the body's end."""
